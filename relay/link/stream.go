package link

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A stream is a request on its way over a link, until the agent's END or NACK.
type stream struct {
	key   wire.AttemptKey
	sent  time.Duration // by the replica's clock, as all its times
	due   time.Duration // the agent has ended it by then, unless it never will
	knows wire.Reason   // the highest that who asked does

	// Guarded by the link's mu.
	to     wire.Receiver
	credit int64         // bytes of body that may still come
	headed bool          // HEAD came
	acked  bool          // ACK came
	heard  bool          // HEAD, ACK or an end came, or we spoke for the agent
	silent time.Duration // when to look, if none of these has
}

// Request sends a request over the link on behalf of to, or tells to why not.
func (l *Link) Request(k wire.AttemptKey, q *wire.Request, to wire.Receiver) {
	buffer := l.links.messages.get()
	defer l.links.messages.put(buffer)
	l.Forward(k, q, q.Append(buffer[:0]), to)
}

// Forward sends another replica's request on as it came: payload may say more than q
// does to this one.
func (l *Link) Forward(k wire.AttemptKey, q *wire.Request, payload []byte, to wire.Receiver) {
	l.mu.Lock()
	if _, twice := l.streams[k]; twice || l.phase != serving {
		l.mu.Unlock()
		to.Receive(k.Nack(Gone))
		return
	}
	now := l.links.clock.now()
	l.streams[k] = &stream{key: k, sent: now, due: now + q.Remaining + wire.ConfirmTimeout, to: to, credit: int64(q.Credit), knows: q.Knows(), silent: now + wire.Silence}
	l.watchLocked(now, now+wire.Silence)
	l.sendLocked(k.Frame(wire.TypeRequest, payload))
	l.mu.Unlock()
}

// Pass sends a CREDIT or CANCEL of a stream on to the agent.
func (l *Link) Pass(f wire.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.streams[f.Key()]
	if g == nil {
		return nil
	}
	if f.Type == wire.TypeCredit {
		n, err := wire.ParseCredit(f.Payload)
		if err != nil {
			return err
		}
		g.credit += int64(n)
	}
	l.sendLocked(f)
	return nil
}

// answer hands an agent's frame to whoever asked. Frames of scrapes that are
// over, or that never were, are dropped.
func (l *Link) answer(f wire.Frame) {
	k := f.Key()
	l.mu.Lock()
	g := l.streams[k]
	if g == nil {
		l.mu.Unlock()
		l.owe(l.links.arrivals.lists.idle())
		return
	}
	to := g.to
	pass, broken, idle := g.take(f)
	switch {
	case broken:
		l.abandonLocked(g)
	case f.Type == wire.TypeEnd || f.Type == wire.TypeNack:
		l.dropLocked(k)
		f = agentWord(f, g.headed, g.knows)
	}
	last := l.phase == leaving && len(l.streams) == 0
	l.mu.Unlock()
	switch {
	case idle:
		l.owe(l.links.arrivals.lists.idle())
	case broken:
		to.Receive(protocolEnd(k, g.knows, wire.Errorf(wire.AgentProtocol, "a second HEAD, or DATA beyond its credit")))
	case pass:
		to.Receive(f)
	}
	if last {
		l.close(wire.CauseDrained)
	}
}

// take notes an agent's frame, and reports whether it says anything new, whether
// it breaks the protocol, and whether no honest agent's timing explains it: the
// bus is shared, and an agent must not fill it with what no edge has asked for. The
// link's mu is held.
func (g *stream) take(f wire.Frame) (pass, broken, idle bool) {
	known := g.heard
	g.heard = true
	switch {
	case f.Type == wire.TypeAck:
		idle = g.acked
		g.acked = true
		return !known, false, idle
	case f.Type == wire.TypeEnd || f.Type == wire.TypeNack:
		return true, false, false
	case g.to == wire.Receiver(nobody{}): // what was on its way already may come
		g.credit -= int64(f.Size())
		return false, false, g.credit < 0
	case f.Type == wire.TypeHead:
		broken = g.headed
		g.headed = true
		return true, broken, false
	}
	g.credit -= int64(len(f.Payload))
	return len(f.Payload) > 0, g.credit < 0, len(f.Payload) == 0
}

// failStreams tells everyone who waits for the link that it is gone.
func (l *Link) failStreams() {
	l.mu.Lock()
	streams := l.streams
	l.streams = nil
	l.watch.stopLocked()
	l.mu.Unlock()
	for k, g := range streams {
		g.to.Receive(k.Nack(broke))
	}
}

// dropLocked takes a stream out that is over.
func (l *Link) dropLocked(k wire.AttemptKey) {
	delete(l.streams, k)
	if len(l.streams) == 0 {
		l.watch.stopLocked()
	}
}

// Abandon makes nobody of a stream's wire.Receiver, which is gone.
func (l *Link) Abandon(k wire.AttemptKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.streams[k]; g != nil {
		l.abandonLocked(g)
	}
}

func (l *Link) abandonLocked(g *stream) {
	g.to = nobody{}
	l.sendLocked(g.key.Frame(wire.TypeCancel, nil))
}

// nobody receives the frames of an abandoned stream.
type nobody struct{}

func (nobody) Receive(wire.Frame) {}

// Gone says that a link cannot take a request; broke, that one which took
// it is no more; overdue, that it took it and nothing came of it.
var (
	Gone    = wire.Nack{Error: wire.Error{Reason: wire.AgentOffline, Detail: "the link is gone"}, Elsewhere: true}
	broke   = wire.Nack{Error: wire.Error{Reason: wire.AgentOffline, Detail: "the link broke"}, Elsewhere: true, Asked: true}
	overdue = wire.Nack{Error: wire.Error{Reason: wire.Deadline, Detail: "the agent never ended the scrape"}}
)
