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
// What the bus brings is kept as it came, if it is not too small: it may then
// take four times its length, where large frames and small ones alternate.
type segment struct {
	data []byte
	room *room // that data fills from its start; nil: none of ours
}

// A room is for a segment's data.
type room [64 << 10]byte

// keptSize is the least that is kept as it came, in bytes: half a room, and half
// of the longest message, all of which stays in memory for it.
const keptSize = len(room{}) / 2

func (s *segment) hasRoom() bool { return s.room != nil && len(s.data) < len(s.room) }

// fill copies what fits, and returns the rest.
func (s *segment) fill(from []byte) (rest []byte) {
	n := copy(s.room[len(s.data):], from)
	s.data = s.room[:len(s.data)+n]
	return from[n:]
}

// A segmentPool lends segments. The zero value is ready.
type segmentPool struct{ pool sync.Pool }

func (p *segmentPool) get() segment {
	r, ok := p.pool.Get().(*room)
	if !ok {
		r = new(room)
	}
	return segment{data: r[:0], room: r}
}

func (p *segmentPool) put(all ...segment) {
	for _, s := range all {
		if s.room != nil {
			p.pool.Put(s.room)
		}
	}
}
