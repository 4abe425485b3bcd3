package agent

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// What may wait for a slow line. Scrapes queue a few frames each, one of them of
// dataSize, and their number is bounded by the limiter: past this the replica
// floods the link and does not read it.
const (
	maxQueuedFrames = 8192
	maxQueuedBytes  = 32 << 20
)

// idleQueue is how many frames an idle link has room for: HEAD, DATA and END of
// a few scrapes.
const idleQueue = 16

// errSlow ends a link whose queue is full.
var errSlow = errors.New("the replica does not read what is sent to it")

// A writer is the one that writes to a link's socket. Frames go out in the order
// they were queued, as many to a message as fit, so that scrapes take turns:
// none has more than one DATA frame queued. Only a PONG overtakes.
type writer struct {
	conn    *websocket.Conn
	sock    *socket       // beneath conn
	buffers *sync.Pool    // of *writeBuffers
	wake    chan struct{} // has one element if there may be something to write
	done    chan struct{} // closed when run has returned

	fast atomic.Bool // the line took the last large message at once

	mu    sync.Mutex
	pong  []byte // of the last PING not yet answered; who pings faster than we write wants no more
	queue []outgoing
	bytes int // of the queue
	full  bool
}

// An outgoing frame waits to be written.
type outgoing struct {
	wire.Frame
	alone bool          // shares no message
	taken chan struct{} // is sent to once Payload is free again; has room for it
}

// writeBuffers are for one message: as it is, and as it goes over the line, masked
// and with the header of its WebSocket frame, or the last of TLS records.
type writeBuffers struct {
	message [wire.MaxMessage]byte
	line    [wire.MaxMessage + 4<<10]byte
}

func newWriter(conn *websocket.Conn, sock *socket, buffers *sync.Pool) *writer {
	return &writer{conn: conn, sock: sock, buffers: buffers, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// send queues frames, which go out in this order with nothing between them. It
// never blocks.
func (w *writer) send(frames ...outgoing) {
	w.mu.Lock()
	for _, f := range frames {
		w.bytes += f.Size()
	}
	w.queue = append(w.queue, frames...)
	if len(w.queue) > maxQueuedFrames || w.bytes > maxQueuedBytes {
		w.full = true
	}
	w.mu.Unlock()
	w.poke()
}

// withdraw takes back the frame that would send to taken, if it still waits, and
// what its scrape has queued after it.
func (w *writer) withdraw(taken chan struct{}) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.queue, func(f outgoing) bool { return f.taken == taken })
	if i < 0 {
		return false
	}
	of := w.queue[i]
	kept := slices.DeleteFunc(w.queue[i:], func(f outgoing) bool {
		gone := f.Key() == of.Key()
		if gone {
			w.bytes -= f.Size()
		}
		return gone
	})
	w.queue = w.queue[:i+len(kept)]
	return true
}

// answer queues a PONG. payload is copied.
func (w *writer) answer(payload []byte) {
	w.mu.Lock()
	w.pong = append(w.pong[:0], payload...)
	w.mu.Unlock()
	w.poke()
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then what is still queued, or until the socket
// fails. ctx never reaches the socket: it would close it.
func (w *writer) run(ctx context.Context) error {
	defer close(w.done)
	for {
		select {
		case <-ctx.Done():
			return w.flush()
		case <-w.wake:
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
}

// flush writes messages until nothing is queued. It holds buffers meanwhile, and
// none after.
func (w *writer) flush() error {
	buffers := w.buffers.Get().(*writeBuffers)
	defer w.buffers.Put(buffers)
	for {
		runtime.Gosched()
		message, err := w.next(buffers.message[:0])
		if err != nil || len(message) == 0 {
			return err
		}
		began := time.Now()
		w.sock.hold(buffers.line[:])
		err = w.conn.Write(context.Background(), websocket.MessageBinary, message)
		if err = cmp.Or(err, w.sock.release()); err != nil {
			return err
		}
		if len(message) > slowDataSize {
			w.fast.Store(time.Since(began) < atOnce)
		}
	}
}

// atOnce is how long a fast line takes for a large message: 3 MB/s and more.
const atOnce = 10 * time.Millisecond

// turn is how much of its body a scrape may put in one DATA frame, in bytes.
func (w *writer) turn() int {
	if w.fast.Load() {
		return dataSize
	}
	return slowDataSize
}

// next takes off the queue what fits in one message.
func (w *writer) next(message []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return nil, errSlow
	}
	if len(w.pong) > 0 {
		message = wire.Frame{Type: wire.TypePong, Payload: w.pong}.Append(message)
		w.pong = w.pong[:0]
	}
	n := 0
	for _, f := range w.queue {
		if len(message) > 0 && (f.alone || len(message)+f.Size() > wire.MaxMessage) {
			break
		}
		message = f.Append(message)
		w.bytes -= f.Size()
		if f.taken != nil {
			f.taken <- struct{}{}
		}
		n++
		if f.alone {
			break
		}
	}
	w.drop(n)
	return message, nil
}

// drop forgets the first n of the queue, and the queue's memory once it is
// empty, but for the little that the next scrape needs anyway.
func (w *writer) drop(n int) {
	clear(w.queue[:n])
	switch {
	case n < len(w.queue):
		w.queue = w.queue[n:]
	case cap(w.queue) <= idleQueue:
		w.queue = w.queue[:0]
	default:
		w.queue = nil
	}
}
