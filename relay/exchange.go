package relay

import (
	"net/http"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A hop is where an exchange's own frames go: a link held here, or the replica
// that holds it.
type hop interface {
	Request(k wire.AttemptKey, q *wire.Request, to wire.Receiver)
	Pass(f wire.Frame) error
}

// An exchange is the edge end of one attempt of one scrape: it receives the
// frames, and is read by the scrape's one goroutine. Whoever starts it ends it
// with cancel; one over the bus leaves the table by itself when the other end has
// confirmed.
type exchange struct {
	relay   *Relay
	key     wire.AttemptKey
	route   *wire.Route
	hop     hop
	changed chan struct{} // holds a token when there is news for the reader

	// Parts of the exchange, so as not to be allocated one by one.
	asked     wire.Request
	delivered wire.Answer
	body      body

	mu        sync.Mutex // guards what follows
	window    window
	head      *wire.Head
	segments  []segment // of the body, received and not read
	buffered  int       // bytes in segments
	acked     bool
	reading   bool          // the edge has the answer, and reads its body
	over      bool          // END or NACK came, or we gave up
	failure   *wire.Nack    // why, if not whole
	agentTook time.Duration // as END says
	canceled  bool
}

// receive takes a frame of the answer. It keeps copies of what it keeps.
func (x *exchange) Receive(f wire.Frame) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	x.acked = true
	switch f.Type {
	case wire.TypeHead:
		x.receiveHead(f.Payload)
	case wire.TypeData:
		x.receiveData(f.Payload)
	case wire.TypeEnd:
		x.receiveEnd(f.Payload)
	case wire.TypeNack:
		n, err := wire.ParseNack(f.Payload)
		if err != nil {
			n = &wire.Nack{Error: *wire.Errorf(wire.AgentProtocol, "%v", err)}
		}
		x.finish(n)
	}
	if x.reading || x.settledLocked() { // else the reader would only find that it is not
		x.wake()
	}
}

func (x *exchange) receiveHead(payload []byte) {
	h, err := wire.ParseHead(payload)
	if err != nil || x.head != nil {
		x.giveUp(wire.Errorf(wire.AgentProtocol, "a second HEAD, or a bad one: %v", err))
		return
	}
	x.head = h
	if more := x.window.answerBegins(contentLength(h.Header)); more > 0 && !x.canceled {
		x.grant(more)
	}
}

func (x *exchange) receiveEnd(payload []byte) {
	e, err := wire.ParseEnd(payload)
	switch {
	case err != nil:
		e.Failure = wire.Errorf(wire.AgentProtocol, "%v", err)
	case e.Failure == nil && x.head == nil:
		e.Failure = wire.Errorf(wire.AgentProtocol, "END without HEAD")
	case e.Failure == nil && x.short():
		e.Failure = wire.Errorf(wire.AgentProtocol, "%d bytes where %d were announced", x.window.received, x.window.length)
	}
	x.agentTook = e.Took
	switch {
	case e.Failure == nil:
		x.finish(nil)
	case e.Failure.Reason == wire.Canceled && !x.canceled: // not by us
		x.finish(&wire.Nack{Error: *wire.Errorf(wire.AgentOffline, "the agent stopped"), Elsewhere: true, Asked: true})
	default:
		x.finish(&wire.Nack{Error: *e.Failure})
	}
}

// short reports whether the body has another length than its header says.
func (x *exchange) short() bool {
	if s := x.head.Status; s == http.StatusNoContent || s == http.StatusNotModified {
		return false // have none, whatever they say
	}
	return x.window.length >= 0 && x.window.length != x.window.received
}

func (x *exchange) receiveData(payload []byte) {
	if x.head == nil || !x.window.take(len(payload)) {
		x.giveUp(wire.Errorf(wire.AgentProtocol, "DATA before HEAD or beyond its credit"))
		return
	}
	if x.canceled || len(payload) == 0 {
		return
	}
	x.buffered += len(payload)
	for len(payload) > 0 {
		last := len(x.segments) - 1
		if last < 0 || len(x.segments[last]) == cap(x.segments[last]) {
			x.segments = append(x.segments, x.relay.segments.get(x.window.wide()))
			last++
		}
		payload = x.segments[last].fill(payload)
	}
}

// finish ends the attempt; nothing more is expected from the other end. What was
// lent for a body that is here is held for as long as that is.
func (x *exchange) finish(n *wire.Nack) {
	x.over, x.failure = true, n
	if x.canceled || n != nil {
		x.window.close()
	}
	if !x.route.Local {
		x.relay.pending.remove(x)
	}
}

// giveUp ends the attempt from here: the other end breaks the protocol.
func (x *exchange) giveUp(e *wire.Error) {
	_ = x.pass(wire.TypeCancel, nil)
	x.finish(&wire.Nack{Error: *e})
}

// fail ends an attempt whose other end may not be heard any more; if it lives,
// it is told to stop.
func (x *exchange) fail(e *wire.Error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		_ = x.pass(wire.TypeCancel, nil)
		x.finish(&wire.Nack{Error: *e, Elsewhere: true, Asked: true})
		x.wake()
	}
}

// cancel lets go of the body and tells the other end, once, that nobody reads any
// more. One over the bus stays in the table, and keeps its share of the pool, until
// that is confirmed: frames that are on their way still fill a queue somewhere.
func (x *exchange) cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.relay.segments.put(x.segments...)
	x.segments, x.buffered = nil, 0
	if x.over || x.route.Local {
		x.window.close()
	}
	if x.over || x.canceled {
		return
	}
	x.canceled = true
	_ = x.pass(wire.TypeCancel, nil)
	time.AfterFunc(wire.ConfirmTimeout, func() {
		x.fail(wire.Errorf(wire.AgentOffline, "a cancelled scrape was not confirmed"))
	})
}

// next returns the next piece of the body that is here, for the reader to put
// back; nil if there is none. It grants credit for what was read before.
func (x *exchange) next() segment {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segments) == 0 {
		return nil
	}
	first := x.segments[0]
	x.segments[0] = nil
	x.segments = x.segments[1:]
	x.buffered -= len(first)
	if x.over {
		return first // nothing more will come
	}
	if more := x.window.consumed(len(first), x.buffered == 0); more > 0 {
		x.grant(more)
	}
	return first
}

func (x *exchange) grant(n int) {
	if err := x.pass(wire.TypeCredit, wire.AppendCredit(nil, uint32(n))); err != nil {
		x.finish(&wire.Nack{Error: *wire.Errorf(wire.BusUnavailable, "%v", err), Elsewhere: true, Asked: true})
		x.wake()
	}
}

// pass sends a frame of ours to the other end. Both hops only queue it, so the
// lock may be held.
func (x *exchange) pass(t wire.Type, payload []byte) error {
	return x.hop.Pass(x.key.Frame(t, payload))
}

func (x *exchange) wake() {
	select {
	case x.changed <- struct{}{}:
	default:
	}
}

// An exchangeTable holds the attempts over the bus that are not over, so that
// frames from it find theirs, and so that the loss of a replica finds all of its.
type exchangeTable struct {
	mu  sync.Mutex
	all map[wire.AttemptKey]*exchange
}

func (t *exchangeTable) add(x *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[wire.AttemptKey]*exchange)
	}
	t.all[x.key] = x
}

func (t *exchangeTable) remove(x *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[x.key] == x {
		delete(t.all, x.key)
	}
}

func (t *exchangeTable) get(k wire.AttemptKey) *exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[k]
}

// through returns the attempts that go through a replica; through all others,
// if it is empty.
func (t *exchangeTable) through(id wire.ReplicaID) []*exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []*exchange
	for _, x := range t.all {
		if id == "" || x.route.Replica == id {
			found = append(found, x)
		}
	}
	return found
}
