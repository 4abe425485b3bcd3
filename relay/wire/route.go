package wire

import (
	"context"
	"errors"
	"time"
)

// An AttemptKey names one attempt of one scrape, which all of its frames bear.
type AttemptKey struct {
	Scrape  ScrapeID
	Attempt uint8
}

// Key is the attempt that the frame belongs to.
func (f Frame) Key() AttemptKey { return AttemptKey{f.Scrape, f.Attempt} }

// Frame makes a frame of the attempt.
func (k AttemptKey) Frame(t Type, payload []byte) Frame {
	return Frame{Type: t, Attempt: k.Attempt, Scrape: k.Scrape, Payload: payload}
}

// Nack makes the NACK that answers the attempt's request.
func (k AttemptKey) Nack(n Nack) Frame { return k.Frame(TypeNack, n.Append(nil)) }

// A Receiver takes the frames that answer a request. It must not block, and must
// not keep a payload.
type Receiver interface {
	Receive(f Frame)
}

// A Route says where a scrape goes: which target, over which link.
type Route struct {
	Agent   AgentKey
	Target  string
	Rest    string // what follows a subtree target's path
	Link    LinkID
	Replica ReplicaID // that holds the link
	Local   bool      // this one does
	Pattern bool      // the agent's token is for a pattern
}

// String is the route's metric label: local or bus.
func (r *Route) String() string {
	if r.Local {
		return "local"
	}
	return "bus"
}

// Ended says why the context of a scrape ended: its time was up, or nobody waits
// for it.
func Ended(ctx context.Context) *Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Errorf(Deadline, "the scrape's time is up")
	}
	return Errorf(Canceled, "the client went away")
}

// Remaining is the time that the context of a scrape leaves it.
func Remaining(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return MaxTimeout
}
