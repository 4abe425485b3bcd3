package attempt

import (
	"net/http"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// An attempt is one try of one scrape, over one link. It receives the frames that
// answer it, and is read by the scrape's one goroutine. Whoever starts it ends it
// with cancel; one over the bus leaves the table by itself when the other end has
// confirmed.
type attempt struct {
	attempts *Attempts
	key      wire.AttemptKey
	route    *wire.Route
	hop      Hop
	changed  chan struct{} // holds a token when there is news for the reader

	// Parts of the attempt, so as not to be allocated one by one.
	asked     wire.Request
	delivered wire.Answer
	body      body

	mu        sync.Mutex // guards what follows
	phase     phase
	window    window
	head      *wire.Head
	segments  []segment // of the body, received and not read
	buffered  int       // bytes in segments
	reading   bool      // the edge has the answer, and reads its body
	failure   *wire.Nack
	agentTook time.Duration // as END says
}

// A phase is how far an attempt has come. It only ever moves on.
type phase uint8

const (
	asking   phase = iota // nothing was heard
	heard                 // the other end has said something
	canceled              // nobody reads any more: the other end is to confirm that
	over                  // END or NACK came, or is not waited for; failure says why, if it is not whole
)

// advanceLocked moves the attempt on, and reports whether it was not there yet.
func (x *attempt) advanceLocked(to phase) bool {
	if to <= x.phase {
		return false
	}
	x.phase = to
	return true
}

// Receive takes a frame of the answer. It keeps copies of what it keeps.
func (x *attempt) Receive(f wire.Frame) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.phase == over {
		return
	}
	x.advanceLocked(heard)
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
		x.endLocked(n)
	}
	if x.reading || x.deliverableLocked() { // else the reader would only find that it is not
		x.wake()
	}
}

func (x *attempt) receiveHead(payload []byte) {
	h, err := wire.ParseHead(payload)
	if err != nil || x.head != nil {
		x.failLocked(wire.Nack{Error: *wire.Errorf(wire.AgentProtocol, "a second HEAD, or a bad one: %v", err)})
		return
	}
	x.head = h
	if more := x.window.answerBegins(contentLength(h.Header)); more > 0 && x.phase != canceled {
		x.grantLocked(more)
	}
}

func (x *attempt) receiveData(payload []byte) {
	if x.head == nil || !x.window.take(len(payload)) {
		x.failLocked(wire.Nack{Error: *wire.Errorf(wire.AgentProtocol, "DATA before HEAD or beyond its credit")})
		return
	}
	if x.phase == canceled || len(payload) == 0 {
		return
	}
	x.buffered += len(payload)
	for len(payload) > 0 {
		last := len(x.segments) - 1
		if last < 0 || len(x.segments[last]) == cap(x.segments[last]) {
			x.segments = append(x.segments, x.attempts.segments.get(x.window.wide()))
			last++
		}
		payload = x.segments[last].fill(payload)
	}
}

func (x *attempt) receiveEnd(payload []byte) {
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
		x.endLocked(nil)
	case e.Failure.Reason == wire.Canceled && x.phase != canceled: // not by us
		x.endLocked(&wire.Nack{Error: *wire.Errorf(wire.AgentOffline, "the agent stopped"), Elsewhere: true, Asked: true})
	default:
		x.endLocked(&wire.Nack{Error: *e.Failure})
	}
}

// short reports whether the body has another length than its header says.
func (x *attempt) short() bool {
	if s := x.head.Status; s == http.StatusNoContent || s == http.StatusNotModified {
		return false // have none, whatever they say
	}
	return x.window.length >= 0 && x.window.length != x.window.received
}

// cancel lets go of the body and tells the other end, once, that nobody reads any
// more. One over the bus stays in the table, and keeps its share of the pool, until
// that is confirmed: frames that are on their way still fill a queue somewhere.
func (x *attempt) cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.attempts.segments.put(x.segments...)
	x.segments, x.buffered = nil, 0
	if x.phase == over || x.route.Local {
		x.window.close()
	}
	if !x.advanceLocked(canceled) {
		return
	}
	_ = x.pass(wire.TypeCancel, nil)
	time.AfterFunc(wire.ConfirmTimeout, func() {
		x.lose(wire.Errorf(wire.AgentOffline, "a cancelled scrape was not confirmed"))
	})
}

// lose ends an attempt whose other end may not be heard any more.
func (x *attempt) lose(why *wire.Error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.phase != over {
		x.failLocked(wire.Nack{Error: *why, Elsewhere: true, Asked: true})
	}
}

// failLocked ends the attempt from here. The other end, if it lives, is told to
// stop.
func (x *attempt) failLocked(n wire.Nack) {
	_ = x.pass(wire.TypeCancel, nil)
	x.endLocked(&n)
	x.wake()
}

// endLocked ends the attempt; nothing more is expected from the other end. What was
// lent for a body that is here is held for as long as that is.
func (x *attempt) endLocked(n *wire.Nack) {
	if x.phase == canceled || n != nil {
		x.window.close()
	}
	x.advanceLocked(over)
	x.failure = n
	if !x.route.Local {
		x.attempts.remove(x)
	}
}

func (x *attempt) grantLocked(n int) {
	if err := x.pass(wire.TypeCredit, wire.AppendCredit(nil, uint32(n))); err != nil {
		x.endLocked(&wire.Nack{Error: *wire.Errorf(wire.BusUnavailable, "%v", err), Elsewhere: true, Asked: true})
		x.wake()
	}
}

// pass sends a frame of ours to the other end.
func (x *attempt) pass(t wire.Type, payload []byte) error {
	return x.hop.Pass(x.key.Frame(t, payload))
}

func (x *attempt) wake() {
	select {
	case x.changed <- struct{}{}:
	default:
	}
}
