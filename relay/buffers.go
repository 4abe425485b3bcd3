package relay

import (
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// A bufferPool lends the buffers that messages are read into: a link has one
// only while a message is under way. One byte more than the limit tells a
// message that is too long from one that just fits. The zero value is ready.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, wire.MaxMessage+1)
}

func (p *bufferPool) put(b []byte) { p.pool.Put(&b) }
