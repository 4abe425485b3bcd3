package relay

import (
	"github.com/farscrape/farscrape/relay/attempt"
	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/wire"
)

// A remote is another replica, as the hop of our attempts and as the receiver of our
// streams: either way, frames to it go by the bus.
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

// gone is a link that was here a moment ago.
type gone struct{}

func (gone) Request(k wire.AttemptKey, _ *wire.Request, to wire.Receiver) {
	to.Receive(k.Nack(link.Gone))
}

func (gone) Pass(wire.Frame) error { return nil }

// Request is the edge end's: to is an attempt, which the frames that come back
// find by their key.
func (m remote) Request(k wire.AttemptKey, q *wire.Request, to wire.Receiver) {
	buffer := m.relay.requests.Get().(*[wire.MaxMessage]byte)
	defer m.relay.requests.Put(buffer)
	f := k.Frame(wire.TypeRequest, q.Append(buffer[:0]))
	if err := m.relay.Bus.Send(m.id, f); err != nil {
		to.Receive(k.Nack(wire.Nack{Error: *wire.Errorf(wire.BusUnavailable, "%v", err), Elsewhere: true}))
	}
}

func (m remote) Pass(f wire.Frame) error { return m.relay.Bus.Send(m.id, f) }

// Receive is the owner end's: the agent's frame goes on to the edge, as it is.
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
		l.Abandon(k.key)
	}
}
