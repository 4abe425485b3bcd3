package agent

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// shortest is the least age to believe: the tightest platform we know of,
	// Azure Container Apps, cuts at 240 s, and a bad line cuts any time.
	shortest = 30 * time.Second
	// apart is how far two losses must be apart to count as two: links that
	// were opened together are cut together, when a balancer restarts.
	apart = 10 * time.Second
)

// A cutAge learns at which age something between the agent and the relay cuts
// its links: serverless platforms and balancers do, and tell nobody. Two losses
// in a row at nearly the same age are no accident.
type cutAge struct {
	age   time.Duration // of the last link that was lost
	at    time.Time     // when that was
	known time.Duration // 0: not known
}

// lost takes note of a link's end.
func (s *cutAge) lost(cause wire.Cause, age time.Duration, now time.Time) {
	if cause != wire.CauseLost || age < shortest || now.Sub(s.at) < apart {
		return
	}
	if close := age/20 + time.Second; s.age > 0 && (age-s.age).Abs() < close {
		s.known = min(age, s.age)
	}
	s.age, s.at = age, now
}
