package relay

import (
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// A buffer holds a message. One byte more than the limit tells a message that is
// too long from one that just fits.
type buffer [wire.MaxMessage + 1]byte

// A bufferPool lends buffers, for a message that is read and for a request that is
// encoded. What is idle has none. The zero value is ready.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) get() []byte {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b[:]
	}
	return new(buffer)[:]
}

func (p *bufferPool) put(b []byte) { p.pool.Put((*buffer)(b)) }

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
