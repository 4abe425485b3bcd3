package relay

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A legKey names one attempt of one scrape.
type legKey struct {
	scrape  wire.ScrapeID
	attempt uint8
}

// A receiver takes the frames that answer a request. It must not block, and
// must not keep a payload.
type receiver interface {
	receive(f wire.Frame)
}

// A leg is a request on its way over a link, until the agent's END or NACK.
// Its fields but the first two are guarded by the link's mu.
type leg struct {
	key     legKey
	to      receiver
	sent    time.Time
	heard   bool        // HEAD, ACK or an end came, or we spoke for the agent
	silence *time.Timer // watches for none of these
}

// request sends a request over the link on behalf of to, or tells to why not.
func (l *link) request(k legKey, q *wire.Request, to receiver) {
	payload := q.Append(nil)
	l.mu.Lock()
	if _, twice := l.legs[k]; twice || !l.welcomed || l.leaving || l.closed {
		l.mu.Unlock()
		refuse(to, k, true, wire.AgentOffline, "the link is gone")
		return
	}
	g := &leg{key: k, to: to, sent: time.Now()}
	g.silence = time.AfterFunc(wire.Silence, func() { l.silent(g) })
	l.legs[k] = g
	l.sendLocked(wire.Frame{Type: wire.TypeRequest, Attempt: k.attempt, Scrape: k.scrape, Payload: payload})
	l.mu.Unlock()
}

// pass sends a CREDIT or CANCEL of a leg on to the agent.
func (l *link) pass(f wire.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.legs[legKey{f.Scrape, f.Attempt}]; ok {
		l.sendLocked(f)
	}
	return nil
}

// answer hands an agent's frame to whoever asked. Frames of scrapes that are
// over, or that never were, are dropped.
func (l *link) answer(f wire.Frame) {
	k := legKey{f.Scrape, f.Attempt}
	l.mu.Lock()
	g := l.legs[k]
	if g == nil {
		l.mu.Unlock()
		return
	}
	if !g.heard {
		g.heard = true
		g.silence.Stop()
	}
	last := false
	if f.Type == wire.TypeEnd || f.Type == wire.TypeNack {
		delete(l.legs, k)
		last = l.leaving && len(l.legs) == 0
	}
	l.mu.Unlock()
	g.to.receive(f)
	if last {
		l.close(wire.CauseDrained)
	}
}

// silent runs when the agent has not said a word to a request for a while. If
// anything has come over the link since, or the link is known to be slow, the
// agent is only busy: then we say ACK for it, so that the edge does not look
// for another link. Else we look again later; the edge decides.
func (l *link) silent(g *leg) {
	l.mu.Lock()
	if l.legs[g.key] != g || g.heard {
		l.mu.Unlock()
		return
	}
	slow := time.Duration(l.roundTrip.Load()) > wire.AckAfter
	busy := slow || l.heard.Load() > g.sent.UnixNano()
	g.heard = busy
	if !busy {
		g.silence.Reset(wire.Silence)
	}
	l.mu.Unlock()
	if busy {
		g.to.receive(wire.Frame{Type: wire.TypeAck, Attempt: g.key.attempt, Scrape: g.key.scrape})
	}
}

// abandonLegs tells everyone who waits for the link that it is gone.
func (l *link) abandonLegs() {
	l.mu.Lock()
	legs := l.legs
	l.legs = nil
	l.mu.Unlock()
	for k, g := range legs {
		g.silence.Stop()
		refuse(g.to, k, true, wire.AgentOffline, "the link broke")
	}
}

// abandon forgets a leg whose receiver is gone.
func (l *link) abandon(k legKey) {
	l.mu.Lock()
	if g := l.legs[k]; g != nil {
		g.to = nobody{}
		l.sendLocked(wire.Frame{Type: wire.TypeCancel, Attempt: k.attempt, Scrape: k.scrape})
	}
	l.mu.Unlock()
}

// nobody receives the frames of an abandoned leg.
type nobody struct{}

func (nobody) receive(wire.Frame) {}

// refuse answers a request with a NACK of ours.
func refuse(to receiver, k legKey, elsewhere bool, why wire.Reason, detail string) {
	n := wire.Nack{Error: wire.Error{Reason: why, Detail: detail}, Elsewhere: elsewhere}
	to.receive(wire.Frame{Type: wire.TypeNack, Attempt: k.attempt, Scrape: k.scrape, Payload: n.Append(nil)})
}
