package relay

import (
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// A buffer holds a message. One byte more than the limit tells a message that is
// too long from one that just fits.
type buffer [wire.MaxMessage + 1]byte

// A bufferPool lends buffers: for a message that is read, for frames that wait to
// be written. What is idle has none. The zero value is ready.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) get() []byte {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b[:]
	}
	return new(buffer)[:]
}

// put takes a buffer back, however much of it was in use. One that append has
// made anew is left to the garbage collector.
func (p *bufferPool) put(b []byte) {
	if cap(b) == len(buffer{}) {
		p.pool.Put((*buffer)(b[:cap(b)]))
	}
}

// A segment is a piece of a body that waits for its reader: a body is kept in
// full segments but for its last, however small the frames were that it came in.
type segment struct {
	n     int // bytes in use
	bytes [64 << 10]byte
}

func (s *segment) data() []byte { return s.bytes[:s.n] }

// A segmentPool lends segments. The zero value is ready.
type segmentPool struct{ pool sync.Pool }

func (p *segmentPool) get() *segment {
	if s, ok := p.pool.Get().(*segment); ok {
		s.n = 0
		return s
	}
	return new(segment)
}

func (p *segmentPool) put(all ...*segment) {
	for _, s := range all {
		p.pool.Put(s)
	}
}
