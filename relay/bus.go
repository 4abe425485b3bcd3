package relay

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

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
