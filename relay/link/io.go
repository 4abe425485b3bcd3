package link

import (
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// read reads one message and gives its frames to handle, whose slices are good
// only until it returns. Every byte that comes is a sign of life.
func (l *Link) read(handle func(wire.Frame) error) error {
	kind, message, err := l.conn.Reader(context.Background())
	if err != nil {
		return err
	}
	if kind != websocket.MessageBinary {
		return &protocolError{errors.New("a text message")}
	}
	start := l.links.starts.get()
	defer l.links.starts.put(start)
	n, whole, err := l.fill(start[:], message)
	switch {
	case err != nil:
		return err
	case !whole:
		return l.readOn(start[:], message, handle)
	case n == 0:
		l.owe(l.links.arrivals.lists.idle())
	}
	return takeApart(start[:n], handle)
}

// readOn reads the rest of a message that is longer than its start. It needs a
// place, for as long as its agent takes to send it.
func (l *Link) readOn(start []byte, message io.Reader, handle func(wire.Frame) error) error {
	if err := l.awaitPlace(l.visit.readLong); err != nil {
		return err
	}
	defer l.visit.message.give()
	buffer := l.links.messages.get()
	defer l.links.messages.put(buffer)
	n := copy(buffer[:], start)
	more, whole, err := l.fill(buffer[n:], message)
	if err == nil && !whole {
		var beyond [1]byte
		_, whole, err = l.fill(beyond[:], message)
	}
	switch {
	case err != nil:
		return err
	case !whole:
		return &protocolError{errors.New("a message over the limit")}
	}
	return takeApart(buffer[:n+more], handle)
}

// fill reads until the buffer is full or the message whole.
func (l *Link) fill(buffer []byte, message io.Reader) (n int, whole bool, err error) {
	for n < len(buffer) {
		m, err := message.Read(buffer[n:])
		n += m
		l.heard.Store(int64(l.links.clock.now()))
		if err == io.EOF {
			l.socket.unheard.Store(0)
			return n, true, nil
		} else if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// takeApart hands out the frames of a message.
func takeApart(message []byte, handle func(wire.Frame) error) error {
	for rest := message; len(rest) > 0; {
		f, after, err := wire.Next(rest)
		if err == nil {
			err = handle(f)
		}
		if err != nil {
			return &protocolError{err}
		}
		rest = after
	}
	return nil
}

// maxOutbox bounds what waits to be written to an agent, in bytes. Requests and
// credit are small: an agent that lets so much pile up does not read.
const maxOutbox = 4 << 20

// firstQueued is room for a request or two, in bytes: what is sent to most links
// at a time. A ping must not take a buffer as large as a message, since thousands
// of links are pinged at once.
const firstQueued = 512

// A sendQueue queues the frames for an agent. Guarded by the link's mu.
type sendQueue struct {
	queued  []byte        // whole frames
	written chan struct{} // closed when the writer has ended; nil without one
}

// send queues a frame and never blocks. An agent that does not read loses its
// link.
func (l *Link) send(f wire.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sendLocked(f)
}

func (l *Link) sendLocked(f wire.Frame) {
	if l.phase == closed {
		return
	}
	if len(l.out.queued)+f.Size() > maxOutbox {
		l.closeLocked(wire.CauseSlow, "")
		return
	}
	if l.out.written != nil {
		l.out.queued = f.Append(l.out.queued)
		return
	}
	l.out.queued = f.Append(make([]byte, 0, firstQueued))
	written := make(chan struct{})
	l.out.written = written
	l.links.active.Go(func() {
		defer close(written)
		l.write()
	})
}

// write writes what is queued, several frames to a message, until nothing is.
// It yields first, so that goroutines which are about to queue a frame do. An
// agent that reads nothing does not answer pings either, and is closed for that.
func (l *Link) write() {
	var spare []byte
	for {
		runtime.Gosched()
		l.mu.Lock()
		batch := l.out.queued
		if len(batch) == 0 {
			l.out = sendQueue{}
			l.mu.Unlock()
			return
		}
		l.out.queued = spare[:0]
		l.mu.Unlock()
		spare = batch
		for len(batch) > 0 {
			var message []byte
			message, batch = wire.CutMessage(batch)
			if err := l.conn.Write(context.Background(), websocket.MessageBinary, message); err != nil {
				l.close(wire.CauseLost)
				return
			}
		}
	}
}

// flush waits until what was queued is written, or cannot be.
func (l *Link) flush() {
	l.mu.Lock()
	written := l.out.written
	l.mu.Unlock()
	if written != nil {
		<-written
	}
}
