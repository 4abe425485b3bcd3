package route

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// maxInflight bounds the scrapes of a replica. With each one's base window and the
// pools it is what a replica's memory can be filled with by bodies: 200 MiB, were
// none of them read.
const maxInflight = 8192

// gates bound the scrapes in flight: of an agent, of a target, and of all. An
// agent whose scrapes all hang must not keep those of others out, nor may all that
// a token for a pattern makes up: so an agent never has more of a replica's places
// than are free, the agents of a tenant whose tokens are for patterns together no
// more than half as many again, and a tenant no more than twice as many.
type gates struct {
	places *share.Pool // by agent

	mu       sync.Mutex // guards what follows
	byKey    map[gateKey]*gate
	patterns map[string]int // places of the tenants' agents whose tokens are for patterns
}

func newGates() *gates {
	return &gates{places: share.New(maxInflight, maxInflight), byKey: make(map[gateKey]*gate), patterns: make(map[string]int)}
}

// A gateKey names a target, or with an empty target all of an agent's.
type gateKey struct {
	agent  wire.AgentKey
	target string
}

type gate struct {
	places *semaphore.Weighted
	users  int // in it and before it; guarded by gates.mu
}

// Admit waits for a place until half of the scrape's time is gone. It says
// whether it had to wait; done gives the place back.
func (r *Router) Admit(ctx context.Context, rt *wire.Route) (done func(), waited bool, failure *wire.Error) {
	k, target := rt.Agent, rt.Target
	agent, one := r.gates.enter(rt, int64(r.MaxInflightAgent), int64(r.MaxInflightTarget))
	if agent == nil {
		return nil, false, wire.Errorf(wire.Overloaded, "more scrapes of agent %s, or of its tenant, are in flight at this replica than their share of %d", k.Agent, maxInflight)
	}
	pattern := rt.Pattern // of the route that comes after the wait it may differ
	leave := func() { r.gates.leave(k, target, pattern) }
	if one.places.TryAcquire(1) {
		if agent.places.TryAcquire(1) {
			return func() { agent.places.Release(1); one.places.Release(1); leave() }, false, nil
		}
		one.places.Release(1)
	}
	half, cancel := context.WithTimeout(ctx, wire.Remaining(ctx)/2)
	defer cancel()
	if one.places.Acquire(half, 1) != nil {
		leave()
		return nil, true, tooMany(ctx, k, target, r.MaxInflightTarget)
	}
	if agent.places.Acquire(half, 1) != nil {
		one.places.Release(1)
		leave()
		return nil, true, tooMany(ctx, k, "all its targets", r.MaxInflightAgent)
	}
	return func() { agent.places.Release(1); one.places.Release(1); leave() }, true, nil
}

func tooMany(ctx context.Context, k wire.AgentKey, what string, limit int) *wire.Error {
	if ctx.Err() != nil {
		return wire.Ended(ctx)
	}
	return wire.Errorf(wire.TooManyScrapes, "%d scrapes of %s on agent %s are in flight, and none ended in time", limit, what, k.Agent)
}

// enter takes a scrape's place, and returns the gates of its agent and its target,
// made if need be; nil if it has no place.
func (g *gates) enter(rt *wire.Route, ofAgent, ofTarget int64) (agent, one *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if rt.Pattern && float64(g.patterns[rt.Agent.Tenant]) >= 1.5*g.places.Free() || !g.places.Take(share.Of(rt.Agent), 1) {
		return nil, nil
	}
	if rt.Pattern {
		g.patterns[rt.Agent.Tenant]++
	}
	return g.openLocked(gateKey{agent: rt.Agent}, ofAgent), g.openLocked(gateKey{rt.Agent, rt.Target}, ofTarget)
}

func (g *gates) openLocked(k gateKey, places int64) *gate {
	e := g.byKey[k]
	if e == nil {
		e = &gate{places: semaphore.NewWeighted(places)}
		g.byKey[k] = e
	}
	e.users++
	return e
}

// leave gives a scrape's place back.
func (g *gates) leave(k wire.AgentKey, target string, pattern bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.places.Give(share.Of(k), 1)
	if pattern {
		if g.patterns[k.Tenant]--; g.patterns[k.Tenant] == 0 {
			delete(g.patterns, k.Tenant)
		}
	}
	g.closeLocked(gateKey{agent: k})
	g.closeLocked(gateKey{k, target})
}

func (g *gates) closeLocked(k gateKey) {
	e := g.byKey[k]
	if e.users--; e.users == 0 {
		delete(g.byKey, k)
	}
}

// inflight is how many scrapes are admitted or wait to be.
func (g *gates) inflight() int { return int(g.places.Taken()) }
