package link

import (
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// A buffer holds a message of any length.
type buffer [wire.MaxMessage]byte

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
