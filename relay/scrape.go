package relay

import (
	"context"
	"io"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// maxAsked bounds the attempts that may have asked the target: one retry.
	maxAsked = 2
	// maxAttempts bounds those that only met links which are gone, too: an
	// instance that dies takes both of its links with it.
	maxAttempts = 4
)

// Scrape has the target asked and returns its answer as soon as it is whole, or
// as its window is nearly full. Until then a lost link costs one retry and
// nothing else. ctx must have the scrape's deadline and must outlive the
// reading of the body. The error is a *wire.Error; an Answer beside it says
// only whom the scrape meant and which way it went.
func (r *Relay) Scrape(ctx context.Context, s *wire.Scrape) (*wire.Answer, error) {
	k, failure := r.resolve(ctx, s)
	if failure != nil {
		return nil, failure
	}
	rt, failure := r.findRoute(ctx, k, s, nil)
	if failure != nil {
		return r.aimed(k, s), failure
	}
	done, waited, failure := r.admit(ctx, rt)
	if failure != nil {
		return r.aimed(k, s), failure
	}
	if waited {
		if rt, failure = r.findRoute(ctx, k, s, nil); failure != nil {
			done()
			return r.aimed(k, s), failure
		}
	}
	answer, failure := r.attempts(ctx, s, rt, done)
	if failure != nil {
		done()
		return &wire.Answer{Route: rt.String(), Agent: k.Agent, Target: rt.Target}, failure
	}
	return answer, nil
}

// aimed says whom a scrape meant that went no way, as far as it is known: the
// target of a proxy-mode one by what its agent last declared.
func (r *Relay) aimed(k wire.AgentKey, s *wire.Scrape) *wire.Answer {
	a := &wire.Answer{Agent: k.Agent, Target: s.Target}
	if !s.Proxy() {
		return a
	}
	if agent := r.routes.remembered(k, time.Now()); agent != nil {
		if t, _, failure := match(k, agent.Targets(), s); failure == nil {
			a.Target = t.Name
		}
	}
	return a
}

// attempts tries the route, and another one if that fails without having
// delivered anything.
func (r *Relay) attempts(ctx context.Context, s *wire.Scrape, rt *wire.Route, done func()) (*wire.Answer, *wire.Error) {
	r.retries.earn(rt.Agent)
	id := wire.NewScrapeID()
	var tried []wire.LinkID
	var next *wire.Route
	another := func() bool {
		r.routes.forget(rt.Agent)
		var failure *wire.Error
		next, failure = r.findRoute(ctx, rt.Agent, s, tried)
		return failure == nil
	}
	for attempt, asked := uint8(1), 0; ; attempt++ {
		tried = append(tried, rt.Link)
		last := asked == maxAsked-1
		x := r.start(ctx, s, rt, wire.AttemptKey{Scrape: id, Attempt: attempt})
		nack := x.settle(ctx, func() bool { return !last && another() })
		if nack == nil {
			return x.answer(ctx, done), nil
		}
		x.cancel()
		if nack.Asked || !nack.Elsewhere {
			asked++
		}
		if nack.Reason == wire.TargetNotDeclared {
			tried = tried[:len(tried)-1] // its targets changed just now: the link is good
		} else if !nack.Elsewhere {
			return nil, &nack.Error
		}
		if asked == maxAsked || attempt == maxAttempts {
			return nil, &nack.Error
		}
		if next == nil && !another() {
			// Frames that the bus lost say nothing against the link.
			tried = nil
			if nack.Reason != wire.BusUnavailable || !another() {
				return nil, &nack.Error
			}
		}
		if !r.retries.spend(rt.Agent) {
			return nil, &nack.Error
		}
		r.Logger.Debug("scrape is tried again", "scrape", id, "agent", rt.Agent.Agent, "target", rt.Target, "link", rt.Link, "why", nack.Error.Error())
		r.metrics.retries.WithLabelValues(rt.String(), nack.Reason.String()).Inc()
		rt, next = next, nil
	}
}

// start sends the request.
func (r *Relay) start(ctx context.Context, s *wire.Scrape, rt *wire.Route, k wire.AttemptKey) *exchange {
	x := &exchange{relay: r, key: k, route: rt, hop: r.hop(rt), changed: make(chan struct{}, 1)}
	if rt.Local {
		x.window = localWindow(r.local, rt.Agent)
	} else {
		x.window = busWindow(r.pool, rt.Agent, r.routes.lastLength(rt.Agent, rt.Target))
	}
	x.asked = wire.Request{
		Remaining: wire.Remaining(ctx), Credit: uint32(x.window.granted), Link: rt.Link,
		Tenant: rt.Agent.Tenant, Agent: rt.Agent.Agent, Target: rt.Target, Rest: rt.Rest, Query: s.Query, Header: s.Header,
	}
	if err := x.asked.Fits(); err != nil {
		x.finish(&wire.Nack{Error: *wire.Errorf(wire.BadRequest, "%v", err)})
		return x
	}
	if !rt.Local {
		r.pending.add(x)
	}
	x.hop.Request(k, &x.asked, x)
	return x
}

// settle waits until the answer may be delivered, or the attempt has failed. If
// nothing is heard for a while, the attempt has failed if there is another link;
// without one, whoever is silent has half of the time that is left: it may be
// starved, not dead.
func (x *exchange) settle(ctx context.Context, another func() bool) *wire.Nack {
	silence := time.NewTimer(x.patience())
	defer silence.Stop()
	for waited := false; ; {
		if nack, settled := x.settled(); settled {
			return nack
		}
		select {
		case <-x.changed:
		case <-ctx.Done():
			return &wire.Nack{Error: *x.unanswered(ctx)}
		case <-silence.C:
			switch {
			case x.heard():
			case waited || another() && !x.heard(): // looking for another takes time
				return &wire.Nack{Error: *wire.Errorf(wire.AgentOffline, "the agent does not answer"), Elsewhere: true, Asked: true}
			default: // if it was heard meanwhile, the next look finds that
				waited = true
				silence.Reset(wire.Remaining(ctx) / 2)
			}
		}
	}
}

// unanswered says why the scrape ends without an answer, and who was waited for.
func (x *exchange) unanswered(ctx context.Context) *wire.Error {
	failure := wire.Ended(ctx)
	if failure.Reason == wire.Deadline && x.heard() {
		failure.Detail = "the target has not answered in time"
	}
	return failure
}

// patience is how long the other end may take to say anything: over the bus its
// owner first waits for the agent, and then speaks for it.
func (x *exchange) patience() time.Duration {
	if x.route.Local {
		return wire.Silence + wire.Silence/5 // after the owner half, which may speak for the agent
	}
	return 2*wire.Silence + x.relay.Bus.RoundTrip()
}

// settled says whether the answer may be delivered, or the attempt has failed.
func (x *exchange) settled() (nack *wire.Nack, settled bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failure, x.settledLocked()
}

func (x *exchange) settledLocked() bool { return x.over || x.head != nil && x.window.full() }

// heard says whether the other end has said anything yet.
func (x *exchange) heard() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.acked
}

// answer is what the edge gets of a settled exchange, which may have failed since
// it was. done is called when its body is closed.
func (x *exchange) answer(ctx context.Context, done func()) *wire.Answer {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reading = true
	x.body = body{x: x, ctx: ctx, done: done}
	x.delivered = wire.Answer{
		Head: *x.head, Whole: x.over && x.failure == nil, Length: x.window.length,
		Body: &x.body, AgentTook: x.took, Route: x.route.String(), Agent: x.route.Agent.Agent, Target: x.route.Target,
	}
	a := &x.delivered
	if a.Whole {
		a.Length = x.window.received
		x.noteLength()
	}
	return a
}

func (x *exchange) took() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.agentTook
}

// A body is an answer's body as the edge reads it.
type body struct {
	x       *exchange
	ctx     context.Context
	done    func()
	segment segment // being read
	unread  []byte  // of it
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.unread) == 0 {
		if err := b.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.unread)
	b.unread = b.unread[n:]
	return n, nil
}

// WriteTo writes the body to w as it stands in memory, a segment at a time.
func (b *body) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if len(b.unread) > 0 {
			n, err := w.Write(b.unread)
			b.unread = b.unread[n:]
			written += int64(n)
			if err != nil {
				return written, err
			}
		}
		if err := b.advance(); err == io.EOF {
			return written, nil
		} else if err != nil {
			return written, err
		}
	}
}

// advance waits for the next segment. The error is io.EOF after a whole body.
func (b *body) advance() error {
	b.putBack()
	for {
		if b.segment = b.x.next(); b.segment != nil {
			b.unread = b.segment
			return nil
		}
		nack, over := b.x.end()
		if nack != nil {
			return &nack.Error
		}
		if over {
			return io.EOF
		}
		select {
		case <-b.x.changed:
		case <-b.ctx.Done():
			return wire.Ended(b.ctx)
		}
	}
}

func (b *body) putBack() {
	if b.segment != nil {
		b.x.relay.segments.put(b.segment)
		b.segment, b.unread = nil, nil
	}
}

// Close cancels what has not come yet.
func (b *body) Close() error {
	if b.done != nil {
		b.putBack()
		b.x.cancel()
		b.done()
		b.done = nil
	}
	return nil
}

// end says whether anything more will come: only asked when all segments that
// are here have been read.
func (x *exchange) end() (nack *wire.Nack, over bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segments) > 0 {
		return nil, false
	}
	if x.over && x.failure == nil {
		x.noteLength()
	}
	return x.failure, x.over
}

// noteLength remembers how long the answer was, for the next window over the bus.
func (x *exchange) noteLength() {
	if !x.route.Local {
		x.relay.routes.setLength(x.route.Agent, x.route.Target, x.window.received)
	}
}
