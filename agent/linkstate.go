package agent

import (
	"log/slog"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// move tells the replica, once, that other links have taken over.
func (l *link) move() {
	l.mu.Lock()
	moved := l.moved
	l.moved = true
	l.mu.Unlock()
	if !moved {
		l.drain("moved")
	}
}

// welcomed is the last WELCOME; nil if there was none yet.
func (l *link) welcomed() *wire.Welcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.welcome
}

// takesChanges reports whether the replica can be told what has changed of the targets.
func (l *link) takesChanges() bool {
	w := l.welcomed()
	return w != nil && slices.Contains(w.Features, wire.FeatureChanges)
}

// logger names the link as far as it is known.
func (l *link) logger() *slog.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log
}

// isDraining reports whether the replica wants to be rid of the link.
func (l *link) isDraining() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.draining
}

// isExiting reports whether the link's replica is about to exit.
func (l *link) isExiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.exiting
}

// age is how long ago the link was welcomed; 0 if it was not.
func (l *link) age() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.welcome == nil {
		return 0
	}
	return time.Since(l.since)
}

// peerTimeout is the silence that the replica says is death.
func (l *link) peerTimeout() time.Duration {
	if w := l.welcomed(); w != nil && w.PeerTimeoutMillis > 0 {
		return time.Duration(min(w.PeerTimeoutMillis, time.Hour.Milliseconds())) * time.Millisecond
	}
	return wire.PeerTimeout
}

// add notes a scrape as in flight; false if it is already.
func (l *link) add(s *scrape) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.scrapes[s.key] != nil {
		return false
	}
	l.scrapes[s.key] = s
	return true
}

func (l *link) remove(s *scrape) {
	l.mu.Lock()
	delete(l.scrapes, s.key)
	l.mu.Unlock()
	select {
	case l.removed <- struct{}{}:
	default:
	}
}

// scrape is the one in flight that f belongs to, or nil: it may be over.
func (l *link) scrape(f wire.Frame) *scrape {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.scrapes[f.Key()]
}

func (l *link) inflight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.scrapes)
}
