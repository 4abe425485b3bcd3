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
//	└───────────────────────────────────────────────┘ frames… seal
const EnvelopeSize = 40

// SealSize is the length of the seal that a version 2 envelope ends in, in bytes:
// the ID of the relay's key (8 hexadecimal digits), a number that its sender uses
// once (8), and a tag of everything before it (16).
const SealSize = 8 + 8 + SealTagSize

// SealTagSize is the length of a seal's tag.
const SealTagSize = 16

// The versions of the bus, which differ in the seal alone. Replicas of different versions
// drop each other's envelopes, so it changes only where a rolling update would
// otherwise go wrong.
const (
	EnvelopeVersion = 1
	EnvelopeSealed  = 2 // only for replicas that say that they know it
)

// An EnvelopeKind says what an envelope is for.
type EnvelopeKind uint8

// The kinds of envelope.
const (
	EnvelopeFrames EnvelopeKind = 1 // frames for the receiver
	EnvelopeProbe  EnvelopeKind = 2 // from a replica to itself: is my inbox alive?
	EnvelopeNudge  EnvelopeKind = 3 // link IDs, one after the other: ask for them again now
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
	Seal   Seal   // of version 2
}

// A Seal shows that an envelope's sender has a key of the relay's. Key and Tag are
// slices of what was decoded; without a seal they are nil.
type Seal struct {
	Key    []byte // its ID
	Number uint64 // that the sender uses once
	Tag    []byte
}

// Append appends the encoded envelope to b, without a seal.
func (e *Envelope) Append(b []byte) []byte { return append(e.AppendHeader(b), e.Frames...) }

// AppendSeal makes a sealed envelope of b, which is an encoded one and nothing
// else, but for the tag: that is to be made of all of it, and appended.
func AppendSeal(b []byte, key string, number uint64) []byte {
	b[0] = EnvelopeSealed
	return binary.BigEndian.AppendUint64(append(b, key...), number)
}

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
	case version != EnvelopeVersion && version != EnvelopeSealed:
		r.err = fmt.Errorf("version %d: %w", version, ErrUnknown)
	case kind < EnvelopeFrames || kind > EnvelopeNudge:
		r.err = fmt.Errorf("kind %d: %w", kind, ErrUnknown)
	case n > MaxEnvelope:
		r.err = fmt.Errorf("%d bytes of frames: %w", n, ErrTooLarge)
	case !ValidID(string(e.From)):
		r.err = fmt.Errorf("sender %q: %w", e.From, ErrMalformed)
	default:
		e.Frames = r.take(int(n))
		if version == EnvelopeSealed {
			e.Seal = Seal{Key: r.take(8), Number: r.u64(), Tag: r.take(SealTagSize)}
		}
	}
	return e, r.end("envelope")
}
