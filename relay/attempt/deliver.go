package attempt

import (
	"context"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// await waits until the answer may be delivered, or the attempt has failed. If
// nothing is heard for a while, the attempt has failed if there is another link;
// without one, whoever is silent has half of the time that is left: it may be
// starved, not dead.
func (x *attempt) await(ctx context.Context, another func() bool) *wire.Nack {
	silence := time.NewTimer(x.patience())
	defer silence.Stop()
	for waited := false; ; {
		if nack, now := x.deliverable(); now {
			return nack
		}
		select {
		case <-x.changed:
		case <-ctx.Done():
			return &wire.Nack{Error: *x.unanswered(ctx)}
		case <-silence.C:
			switch {
			case x.wasHeard():
			case waited || another() && !x.wasHeard(): // looking for another takes time
				return &wire.Nack{Error: *wire.Errorf(wire.AgentOffline, "the agent does not answer"), Elsewhere: true, Asked: true}
			default: // if it was heard meanwhile, the next look finds that
				waited = true
				silence.Reset(wire.Remaining(ctx) / 2)
			}
		}
	}
}

// unanswered says why the scrape ends without an answer, and who was waited for.
func (x *attempt) unanswered(ctx context.Context) *wire.Error {
	failure := wire.Ended(ctx)
	if failure.Reason == wire.Deadline && x.wasHeard() {
		failure.Detail = "the target has not answered within the scrape's time: look at it, or raise scrape_timeout"
	}
	return failure
}

// patience is how long the other end may take to say anything: over the bus its
// owner first waits for the agent, and then speaks for it.
func (x *attempt) patience() time.Duration {
	if x.route.Local {
		return wire.Silence + wire.Silence/5 // after the owner half, which may speak for the agent
	}
	return 2*wire.Silence + x.attempts.RoundTrip()
}

// deliverable says whether the answer may be delivered, or the attempt has failed.
func (x *attempt) deliverable() (nack *wire.Nack, now bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failure, x.deliverableLocked()
}

func (x *attempt) deliverableLocked() bool {
	return x.phase == over || x.head != nil && x.window.full()
}

// wasHeard says whether the other end has said anything yet.
func (x *attempt) wasHeard() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.phase > asking
}

// answer is what the edge gets of a deliverable answer, which may have failed since
// it was. done is called when its body is closed.
func (x *attempt) answer(ctx context.Context, done func()) *wire.Answer {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reading = true
	x.body = body{x: x, ctx: ctx, done: done}
	x.delivered = wire.Answer{
		Head: *x.head, Whole: x.phase == over && x.failure == nil, Length: x.window.length,
		Body: &x.body, AgentTook: x.took, Route: x.route.String(), Agent: x.route.Agent.Agent, Target: x.route.Target,
	}
	a := &x.delivered
	if a.Whole {
		a.Length = x.window.received
		x.noteLength()
	}
	return a
}

func (x *attempt) took() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.agentTook
}

// next returns the next piece of the body that is here, for the reader to put
// back; nil if there is none. It grants credit for what was read before.
func (x *attempt) next() segment {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segments) == 0 {
		return nil
	}
	first := x.segments[0]
	x.segments[0] = nil
	x.segments = x.segments[1:]
	x.buffered -= len(first)
	if x.phase == over {
		return first // nothing more will come
	}
	if more := x.window.consumed(len(first), x.buffered == 0); more > 0 {
		x.grantLocked(more)
	}
	return first
}

// end says whether anything more will come: only asked when all segments that
// are here have been read.
func (x *attempt) end() (nack *wire.Nack, ended bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segments) > 0 {
		return nil, false
	}
	if x.phase == over && x.failure == nil {
		x.noteLength()
	}
	return x.failure, x.phase == over
}

// noteLength remembers how long the answer was, for the next window over the bus.
func (x *attempt) noteLength() {
	if !x.route.Local {
		x.attempts.Router.SetLength(x.route.Agent, x.route.Target, x.window.received)
	}
}
