package store

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// maxPeers bounds the peers whose place in their stream is known.
	maxPeers = 4096
	// maxJump bounds how far ahead a stream may be that is not sealed: senders draw
	// them one by one, and a new one only when something went wrong.
	maxJump = 1 << 32
	// staleEnvelopes is after how many envelopes out of place, and nothing else, a
	// peer that does not seal is believed anew.
	staleEnvelopes = 4
)

// peers knows how far each replica that sends to this one has got.
type peers map[wire.ReplicaID]*peer

type peer struct {
	sealed       bool // what it sends
	stream, next uint64
	heard        time.Time
	stale        int       // envelopes out of place since the last that was not
	since        time.Time // when the first of them came
}

// accept says what to do with an envelope of frames: whether something before
// it was lost, and whether to deliver it. What comes twice, or late from a
// stream that is over, is not delivered.
//
// Where envelopes are not sealed, and nothing but such comes, something strange was
// believed before: a stray or forged one. Then the peer is believed anew, as it is
// now. It also is with the first that is sealed. From then on nobody else writes in
// its name, and what is out of place is old: somebody may have kept it.
func (p peers) accept(e *wire.Envelope, now time.Time, timing *timing) (gap, deliver, anew bool) {
	sealed := e.Seal.Key != nil
	from := p[e.From]
	if from == nil {
		if e.Stream > maxJump && !sealed {
			return false, false, false
		}
		p.makeRoom()
		p[e.From] = &peer{sealed: sealed, stream: e.Stream, next: e.Seq + 1, heard: now}
		return e.Seq != 1, true, false
	}
	inPlace := from.inPlace(e, sealed)
	if !inPlace && from.sealed == sealed {
		if from.stale == 0 {
			from.since = now
		}
		if from.stale++; sealed || from.stale < staleEnvelopes || now.Sub(from.since) < timing.stale {
			return false, false, false
		}
		anew = true
	}
	gap = !inPlace || from.misses(e, now, timing)
	*from = peer{sealed: sealed, stream: e.Stream, next: e.Seq + 1, heard: now}
	return gap, true, anew
}

// inPlace reports whether an envelope comes after those before it.
func (f *peer) inPlace(e *wire.Envelope, sealed bool) bool {
	if e.Stream == f.stream {
		return e.Seq >= f.next
	}
	return e.Stream > f.stream && (sealed || e.Stream-f.stream <= maxJump)
}

// misses reports whether something is missing before an envelope that is in
// place. A peer that was quiet for long has forgotten its place, and begins a
// stream at 1; one that has lost something never does.
func (f *peer) misses(e *wire.Envelope, now time.Time, timing *timing) bool {
	if e.Stream == f.stream {
		return e.Seq != f.next
	}
	forgot := e.Seq == 1 && now.Sub(f.heard) > timing.forget-timing.forget/10
	return !forgot
}

// seals reports whether a peer has sealed what it sends before.
func (p peers) seals(id wire.ReplicaID) bool { return p[id] != nil && p[id].sealed }

// makeRoom forgets the one unheard longest if there are too many, of those that do
// not seal if there are any: what others sent once must not be news again. The next
// from it will be taken for a gap.
func (p peers) makeRoom() {
	if len(p) < maxPeers {
		return
	}
	var oldest wire.ReplicaID
	for id, from := range p {
		o := p[oldest]
		if o == nil || o.sealed && !from.sealed || o.sealed == from.sealed && from.heard.Before(o.heard) {
			oldest = id
		}
	}
	delete(p, oldest)
}
