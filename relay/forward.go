package relay

import (
	"sync"

	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/wire"
)

// serveRemote is the owner's half of a scrape that another replica's edge took.
func (r *Relay) serveRemote(from wire.ReplicaID, f wire.Frame) {
	k := f.Key()
	to := remote{r, from}
	q, err := wire.ParseRequest(f.Payload)
	if err != nil {
		r.Logger.Warn("request from the bus does not decode", "from", from, "err", err)
		to.Receive(k.Nack(wire.Nack{Error: *wire.Errorf(wire.Internal, "the owner cannot read the request")}))
		return
	}
	l := r.links.Get(q.Link)
	// Redis is inside the trust boundary, and still no scrape crosses a tenant.
	if l == nil || l.Agent() != (wire.AgentKey{Tenant: q.Tenant, Agent: q.Agent}) {
		to.Receive(k.Nack(link.Gone))
		return
	}
	if r.forwards.add(forwardKey{from, k}, l) {
		l.Forward(k, q, f.Payload, to)
	}
}

// dropForwards ends the streams that serve a replica (every one, if id is empty),
// and tells it, if it still hears.
func (r *Relay) dropForwards(id wire.ReplicaID) {
	for k, l := range r.forwards.take(id) {
		l.Abandon(k.key)
		remote{r, k.from}.Receive(k.key.Nack(wire.Nack{Error: *wire.Errorf(wire.BusUnavailable, "the bus lost frames"), Elsewhere: true, Asked: true}))
	}
}

// A forwardKey names a stream by who asked for it.
type forwardKey struct {
	from wire.ReplicaID
	key  wire.AttemptKey
}

// A forwardTable says on which link another replica's scrape goes. The zero
// value is empty.
type forwardTable struct {
	mu  sync.Mutex
	all map[forwardKey]*link.Link
}

// add reports whether the key was free.
func (t *forwardTable) add(k forwardKey, l *link.Link) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[forwardKey]*link.Link)
	}
	if _, taken := t.all[k]; taken {
		return false
	}
	t.all[k] = l
	return true
}

func (t *forwardTable) get(k forwardKey) *link.Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[k]
}

// remove returns the link of a stream that was there.
func (t *forwardTable) remove(k forwardKey) *link.Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.all[k]
	delete(t.all, k)
	return l
}

// take removes and returns the streams of a replica, or all if id is empty.
func (t *forwardTable) take(id wire.ReplicaID) map[forwardKey]*link.Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := make(map[forwardKey]*link.Link)
	for k, l := range t.all {
		if id == "" || k.from == id {
			taken[k] = l
			delete(t.all, k)
		}
	}
	return taken
}

func (t *forwardTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}
