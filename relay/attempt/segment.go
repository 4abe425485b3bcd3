package attempt

import (
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

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
