package relay

import (
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/attempt"
	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/wire"
)

// A remote is another replica, as the hop of our exchanges and as the receiver
// of our legs: either way, frames to it go by the bus.
type remote struct {
	relay *Relay
	id    wire.ReplicaID
}

// hop is where the frames of a route go.
func (r *Relay) hop(rt *wire.Route) attempt.Hop {
	if !rt.Local {
		return remote{r, rt.Replica}
	}
	if l := r.links.Get(rt.Link); l != nil {
		return l
	}
	return gone{}
}

// requests lends room to encode them.
var requests = sync.Pool{New: func() any { return new([wire.MaxMessage]byte) }}

// gone is a link that was here a moment ago.
type gone struct{}

func (gone) Request(k wire.AttemptKey, _ *wire.Request, to wire.Receiver) {
	to.Receive(k.Nack(link.Gone))
}

func (gone) Pass(wire.Frame) error { return nil }

// Request is the edge end's: to is an exchange, which the frames that come back
// find through the table.
func (m remote) Request(k wire.AttemptKey, q *wire.Request, to wire.Receiver) {
	buffer := requests.Get().(*[wire.MaxMessage]byte)
	defer requests.Put(buffer)
	f := k.Frame(wire.TypeRequest, q.Append(buffer[:0]))
	if err := m.relay.Bus.Send(m.id, f); err != nil {
		to.Receive(k.Nack(wire.Nack{Error: *wire.Errorf(wire.BusUnavailable, "%v", err), Elsewhere: true}))
	}
}

func (m remote) Pass(f wire.Frame) error { return m.relay.Bus.Send(m.id, f) }

// receive is the owner end's: the agent's frame goes on to the edge, as it is.
// After one that the bus does not take nothing more goes: an answer with a hole
// in it must never look whole.
func (m remote) Receive(f wire.Frame) {
	k := forwardKey{m.id, f.Key()}
	err := m.relay.Bus.Send(m.id, f)
	if err == nil && f.Type != wire.TypeEnd && f.Type != wire.TypeNack {
		return
	}
	if l := m.relay.forwards.remove(k); l != nil && err != nil {
		m.relay.Logger.Warn("answer given up", "scrape", f.Scrape, "to", m.id, "err", err)
		l.Abandon(k.leg)
	}
}

// busFrames takes frames that another replica sent to this one.
func (r *Relay) busFrames(from wire.ReplicaID, frames []byte) {
	for len(frames) > 0 {
		f, rest, err := wire.Next(frames)
		if err != nil {
			r.Logger.Warn("frames from the bus do not decode", "from", from, "err", err)
			r.busGap(from)
			return
		}
		frames = rest
		switch f.Type {
		case wire.TypeRequest:
			r.serveRemote(from, f)
		case wire.TypeCredit, wire.TypeCancel:
			if l := r.forwards.get(forwardKey{from, f.Key()}); l != nil {
				_ = l.Pass(f)
			}
		default:
			r.attempts.Receive(from, f)
		}
	}
}

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

// busGap fails what may have lost frames to or from a replica.
func (r *Relay) busGap(from wire.ReplicaID) {
	r.attempts.Lost(from, wire.Errorf(wire.BusUnavailable, "the bus lost frames"))
	r.dropForwards(from)
}

// busUnheard fails what waits for a replica that is gone.
func (r *Relay) busUnheard(to wire.ReplicaID) {
	r.attempts.Lost(to, wire.Errorf(wire.AgentOffline, "the replica that held the agent is gone"))
	r.dropForwards(to)
}

// busChanged fails everything on the bus when it goes down. When it comes up
// there is nothing to do: the next scrape finds out.
func (r *Relay) busChanged(up bool) {
	if !up {
		r.routes.Distrust(time.Now()) // discovery says so, too
		r.attempts.Lost("", wire.Errorf(wire.BusUnavailable, "the bus went down"))
		r.dropForwards("")
	}
}

// dropForwards ends the legs that serve a replica (every one, if id is empty),
// and tells it, if it still hears.
func (r *Relay) dropForwards(id wire.ReplicaID) {
	for k, l := range r.forwards.take(id) {
		l.Abandon(k.leg)
		remote{r, k.from}.Receive(k.leg.Nack(wire.Nack{Error: *wire.Errorf(wire.BusUnavailable, "the bus lost frames"), Elsewhere: true, Asked: true}))
	}
}

// A forwardKey names a leg by who asked for it.
type forwardKey struct {
	from wire.ReplicaID
	leg  wire.AttemptKey
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

// remove returns the link of a leg that was there.
func (t *forwardTable) remove(k forwardKey) *link.Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.all[k]
	delete(t.all, k)
	return l
}

// take removes and returns the legs of a replica, or all if id is empty.
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
