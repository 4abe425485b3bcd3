package store

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// maxSenders bounds the senders whose place in their stream is known.
	maxSenders = 1024
	// maxJump bounds how far ahead a stream may be: senders draw them one by one,
	// and a new one only when something went wrong.
	maxJump = 1 << 32
	// staleEnvelopes and staleFor say when a sender is believed anew of which
	// nothing but what is out of place has come: so many envelopes, over so long.
	// What is truly late is all there within a round's time-out.
	staleEnvelopes = 4
	staleFor       = 2 * time.Second
)

// senders knows how far each replica that sends to this one has got.
type senders map[wire.ReplicaID]*sender

type sender struct {
	stream, next uint64
	heard        time.Time
	stale        int       // envelopes out of place since the last that was not
	since        time.Time // when the first of them came
}

// accept says what to do with an envelope of frames: whether something before
// it was lost, and whether to deliver it. What comes twice, or late from a
// stream that its sender has given up, is not delivered; but if nothing else
// comes, then something strange was believed before: a stray or forged envelope.
// Then the sender is believed anew, as it is now.
func (s senders) accept(e *wire.Envelope, now time.Time) (gap, deliver, anew bool) {
	from := s[e.From]
	if from == nil {
		if e.Stream > maxJump {
			return false, false, false
		}
		s.makeRoom(now)
		s[e.From] = &sender{stream: e.Stream, next: e.Seq + 1, heard: now}
		return e.Seq != 1, true, false
	}
	if !from.inPlace(e) {
		if from.stale == 0 {
			from.since = now
		}
		if from.stale++; from.stale < staleEnvelopes || now.Sub(from.since) < staleFor {
			return false, false, false
		}
		anew = true
	}
	gap = anew || from.misses(e, now)
	*from = sender{stream: e.Stream, next: e.Seq + 1, heard: now}
	return gap, true, anew
}

// inPlace reports whether an envelope comes after those before it.
func (f *sender) inPlace(e *wire.Envelope) bool {
	if e.Stream == f.stream {
		return e.Seq >= f.next
	}
	return e.Stream > f.stream && e.Stream-f.stream <= maxJump
}

// misses reports whether something is missing before an envelope that is in
// place. A sender that was quiet for long has forgotten its place, and begins a
// stream at 1; one that has lost something never does.
func (f *sender) misses(e *wire.Envelope, now time.Time) bool {
	if e.Stream == f.stream {
		return e.Seq != f.next
	}
	forgot := e.Seq == 1 && now.Sub(f.heard) > forgetAfter-time.Minute
	return !forgot
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
