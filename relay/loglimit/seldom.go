package loglimit

import (
	"sync"
	"time"
)

// seldomFor is how long a Seldom lets nothing through after it did.
const seldomFor = time.Minute

// A Seldom lets one line a minute through of what anyone can cause as often as they
// like. The zero value is ready.
type Seldom struct {
	mu   sync.Mutex // guards what follows
	said time.Time
	held int // since then
}

// Due reports whether a line is to be logged now, and how many were not since the last
// one that was.
func (s *Seldom) Due(now time.Time) (show bool, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.said) < seldomFor {
		s.held++
		return false, 0
	}
	s.said, more, s.held = now, s.held, 0
	return true, more
}
