package link

import (
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// shortMessage is how long a message may be, in bytes, that is read without a place:
// whatever keeps a link alive, and small answers. Most of it has been read ahead with
// the message's own head, so that to begin with it costs a long one no system call.
const shortMessage = readAhead / 2

type (
	// A start is room for the start of a message that is read.
	start [shortMessage]byte
	// A buffer is room for a message of any length, read or encoded.
	buffer [wire.MaxMessage]byte
)

// A pool lends buffers of one size: what is idle has none. The zero value is ready.
type pool[T any] struct{ free sync.Pool }

func (p *pool[T]) get() *T {
	if b, ok := p.free.Get().(*T); ok {
		return b
	}
	return new(T)
}

func (p *pool[T]) put(b *T) { p.free.Put(b) }
