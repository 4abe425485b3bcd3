package relay

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/farscrape/farscrape/relay/wire"
)

// maxInflight bounds the scrapes of a replica. With each one's base window and the
// pools it is what a replica's memory can be filled with by bodies: 200 MiB, were
// none of them read.
const maxInflight = 8192

// gates bound the scrapes in flight: of an agent, of a target, and of all. The
// zero value is open.
type gates struct {
	mu    sync.Mutex
	count int
	byKey map[gateKey]*gate
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

// admit waits for a place until half of the scrape's time is gone. It says
// whether it had to wait; done gives the place back.
func (r *Relay) admit(ctx context.Context, k wire.AgentKey, target string) (done func(), waited bool, failure *wire.Error) {
	agent, ok := r.gates.open(gateKey{agent: k}, int64(r.MaxInflightAgent))
	if !ok {
		return nil, false, wire.Errorf(wire.Overloaded, "%d scrapes are in flight at this replica", maxInflight)
	}
	one, ok := r.gates.open(gateKey{k, target}, int64(r.MaxInflightTarget))
	if !ok {
		r.gates.leave(gateKey{agent: k})
		return nil, false, wire.Errorf(wire.Overloaded, "%d scrapes are in flight at this replica", maxInflight)
	}
	leave := func() {
		r.gates.leave(gateKey{k, target})
		r.gates.leave(gateKey{agent: k})
	}
	if one.places.TryAcquire(1) {
		if agent.places.TryAcquire(1) {
			return func() { agent.places.Release(1); one.places.Release(1); leave() }, false, nil
		}
		one.places.Release(1)
	}
	half, cancel := context.WithTimeout(ctx, remaining(ctx)/2)
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
		return ended(ctx)
	}
	return wire.Errorf(wire.TooManyScrapes, "%d scrapes of %s on agent %s are in flight, and none ended in time", limit, what, k.Agent)
}

// open returns the gate of a key, made if need be; false if the replica is
// full.
func (g *gates) open(k gateKey, places int64) (*gate, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count >= 2*maxInflight { // a scrape passes two gates
		return nil, false
	}
	if g.byKey == nil {
		g.byKey = make(map[gateKey]*gate)
	}
	e := g.byKey[k]
	if e == nil {
		e = &gate{places: semaphore.NewWeighted(places)}
		g.byKey[k] = e
	}
	e.users++
	g.count++
	return e, true
}

func (g *gates) leave(k gateKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	e := g.byKey[k]
	if e.users--; e.users == 0 {
		delete(g.byKey, k)
	}
}

// inflight is how many scrapes are admitted or wait to be.
func (g *gates) inflight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count / 2
}
