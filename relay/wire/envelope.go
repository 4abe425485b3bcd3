package wire

import (
	"encoding/binary"
	"fmt"
)

// EnvelopeSize is the length of an envelope's header, in bytes:
//
//	 0       1       2               4               8
//	┌───────┬───────┬───────────────┬───────────────┐
//	│version│ kind  │ 0             │ frames length │
//	├───────┴───────┴───────────────┴───────────────┤
//	│ stream                                        │ 16
//	├───────────────────────────────────────────────┤
//	│ sequence number                               │ 24
//	├───────────────────────────────────────────────┤
//	│ sender's replica ID, 16 characters            │
//	│                                               │ 40
//	└───────────────────────────────────────────────┘ frames…
const EnvelopeSize = 40

// EnvelopeVersion is the version of the bus. Replicas of different versions
// drop each other's envelopes, so it changes only where a rolling update would
// otherwise go wrong.
const EnvelopeVersion = 1

// An EnvelopeKind says what an envelope is for.
type EnvelopeKind uint8

// The kinds of envelope.
const (
	EnvelopeFrames EnvelopeKind = 1 // frames for the receiver
	EnvelopeProbe  EnvelopeKind = 2 // from a replica to itself: is my inbox alive?
	EnvelopeNudge  EnvelopeKind = 3 // link IDs, one after the other: look at their leases now
)

// An Envelope carries frames from one replica's outgoing queue to another's
// inbox. Pub/sub delivers at most once: the sequence number, which counts from
// 1 within a stream, tells a lost envelope; a sender that loses its place draws
// a new, higher stream, of which it leaves 1 out.
type Envelope struct {
	Kind   EnvelopeKind
	Stream uint64
	Seq    uint64
	From   ReplicaID
	Frames []byte // at most MaxEnvelope bytes; a slice of what was decoded
}

// Append appends the encoded envelope to b.
func (e *Envelope) Append(b []byte) []byte { return append(e.AppendHeader(b), e.Frames...) }

// AppendHeader appends the envelope without its frames, for those that stand in
// their place already.
func (e *Envelope) AppendHeader(b []byte) []byte {
	if len(e.Frames) > MaxEnvelope || len(e.From) != IDSize {
		panic(fmt.Sprintf("wire: envelope from %q of %d bytes", e.From, len(e.Frames)))
	}
	b = append(b, EnvelopeVersion, byte(e.Kind), 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Frames)))
	b = binary.BigEndian.AppendUint64(b, e.Stream)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	return append(b, e.From...)
}

// ParseEnvelope decodes an envelope, but not the frames in it.
func ParseEnvelope(b []byte) (*Envelope, error) {
	r := reader{b: b}
	version, kind := r.u8(), EnvelopeKind(r.u8())
	r.u16()
	n := r.u32()
	e := &Envelope{Kind: kind, Stream: r.u64(), Seq: r.u64(), From: ReplicaID(r.take(IDSize))}
	switch {
	case r.err != nil:
	case version != EnvelopeVersion:
		r.err = fmt.Errorf("version %d: %w", version, ErrUnknown)
	case kind < EnvelopeFrames || kind > EnvelopeNudge:
		r.err = fmt.Errorf("kind %d: %w", kind, ErrUnknown)
	case n > MaxEnvelope:
		r.err = fmt.Errorf("%d bytes of frames: %w", n, ErrTooLarge)
	case !ValidID(string(e.From)):
		r.err = fmt.Errorf("sender %q: %w", e.From, ErrMalformed)
	default:
		e.Frames = r.take(int(n))
	}
	return e, r.end("envelope")
}
