package store

import (
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// A chunk is an envelope in the making: room for the header, the frames after it,
// and room for a seal. What is published is the chunk itself, so that a body is copied once
// on its way out.
type chunk []byte

type chunkArray [maxChunk + wire.SealSize]byte

// maxChunk is how long a chunk may get, without its seal.
const maxChunk = wire.EnvelopeSize + wire.MaxEnvelope

// frames are what the chunk carries.
func (c chunk) frames() []byte { return c[wire.EnvelopeSize:] }

// A chunkPool lends chunks. The zero value is ready.
type chunkPool struct{ pool sync.Pool }

// get returns a chunk without frames.
func (p *chunkPool) get() chunk {
	if a, ok := p.pool.Get().(*chunkArray); ok {
		return a[:wire.EnvelopeSize]
	}
	return new(chunkArray)[:wire.EnvelopeSize]
}

func (p *chunkPool) put(all ...chunk) {
	for _, c := range all {
		p.pool.Put((*chunkArray)(c[:cap(c)]))
	}
}
