package relay

import (
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// A buffer holds a message. One byte more than the limit tells a message that is
// too long from one that just fits.
type buffer [wire.MaxMessage + 1]byte

// A bufferPool lends buffers, for a long message that is read and for a request that
// is encoded. What is idle has none. The zero value is ready.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) get() []byte {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b[:]
	}
	return new(buffer)[:]
}

func (p *bufferPool) put(b []byte) { p.pool.Put((*buffer)(b)) }

// shortMessage is how long a message may be, in bytes, that is read without a place:
// whatever keeps a link alive, and small answers. Most of it has been read ahead with
// the message's own head, so that to begin with it costs a long one no system call.
const shortMessage = readAhead / 2

// A startPool lends room for the start of a message. The zero value is ready.
type startPool struct{ pool sync.Pool }

func (p *startPool) get() *[shortMessage]byte {
	if b, ok := p.pool.Get().(*[shortMessage]byte); ok {
		return b
	}
	return new([shortMessage]byte)
}

func (p *startPool) put(b *[shortMessage]byte) { p.pool.Put(b) }

// A segment is a piece of a body that waits for its reader, in a room of its own: a
// body is kept in full segments but for its last, however small the frames were
// that it came in.
type segment []byte

// What a segment has room for, in bytes. A small one holds what a window has that
// was lent nothing.
const (
	largeSegment = 64 << 10
	smallSegment = wire.BusWindow
)

// fill copies what fits, and returns the rest.
func (s *segment) fill(from []byte) (rest []byte) {
	n := min(len(from), cap(*s)-len(*s))
	*s = append(*s, from[:n]...)
	return from[n:]
}

// A segmentPool lends segments. The zero value is ready.
type segmentPool struct{ large, small sync.Pool }

// get returns an empty segment.
func (p *segmentPool) get(large bool) segment {
	if !large {
		if r, ok := p.small.Get().(*[smallSegment]byte); ok {
			return r[:0]
		}
		return new([smallSegment]byte)[:0]
	}
	if r, ok := p.large.Get().(*[largeSegment]byte); ok {
		return r[:0]
	}
	return new([largeSegment]byte)[:0]
}

func (p *segmentPool) put(all ...segment) {
	for _, s := range all {
		if cap(s) == smallSegment {
			p.small.Put((*[smallSegment]byte)(s[:cap(s)]))
		} else {
			p.large.Put((*[largeSegment]byte)(s[:cap(s)]))
		}
	}
}
