package store

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// maxSenders bounds the senders whose place in their stream is known.
const maxSenders = 1024

// senders knows how far each replica that sends to this one has got.
type senders map[wire.ReplicaID]*sender

type sender struct {
	stream, next uint64
	heard        time.Time
}

// accept says what to do with an envelope of frames: whether something before
// it was lost, and whether to deliver it. What comes twice, or late from a
// stream that its sender has given up, is not delivered.
func (s senders) accept(e *wire.Envelope, now time.Time) (gap, deliver bool) {
	from := s[e.From]
	switch {
	case from == nil:
		s.makeRoom(now)
		s[e.From] = &sender{stream: e.Stream, next: e.Seq + 1, heard: now}
		return e.Seq != 1, true
	case e.Stream < from.stream || e.Stream == from.stream && e.Seq < from.next:
		return false, false
	}
	gap = e.Stream != from.stream || e.Seq != from.next
	from.stream, from.next, from.heard = e.Stream, e.Seq+1, now
	return gap, true
}

// makeRoom forgets senders unheard for long, and any one if there are too many
// still: the next from it will be taken for a gap.
func (s senders) makeRoom(now time.Time) {
	for id, from := range s {
		if now.Sub(from.heard) > forgetAfter {
			delete(s, id)
		}
	}
	for id := range s {
		if len(s) < maxSenders {
			return
		}
		delete(s, id)
	}
}
