package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Subprotocol is the WebSocket subprotocol, and with it the version of all this.
// It changes when a peer of the old version could misread the new one; whatever
// an old peer may ignore needs no new version (see [Type], [HeaderSize] and
// [Extensions]).
const Subprotocol = "farscrape.v1"

// A Type says what a frame is. A receiver refuses an unknown type below
// FirstOptional by closing the link, and ignores an unknown one from there on:
// that is the room to grow within a version.
type Type uint8

// The frames, with who sends them. Values are for ever.
const (
	TypeHello   Type = 1  // agent: who it is; the first frame on a link
	TypeWelcome Type = 2  // replica: accepted, or now in the directory
	TypeTargets Type = 3  // agent: its targets, whole, in one or more frames
	TypeRequest Type = 4  // replica: scrape this target
	TypeHead    Type = 5  // agent: the target's status and header
	TypeData    Type = 6  // agent: a piece of the body, within its credit
	TypeEnd     Type = 7  // agent: the scrape is over, and how; the last of its frames
	TypeCredit  Type = 8  // replica: so many more bytes of body may come
	TypeCancel  Type = 9  // replica: nobody waits for this scrape any more
	TypeAck     Type = 10 // agent: has the request, works on it
	TypeNack    Type = 11 // agent or owner: will not do it; the target was not asked
	TypeDrain   Type = 12 // both: this link goes away; send nothing new over it
	TypePing    Type = 13 // replica: are you there?
	TypePong    Type = 14 // agent: yes; the ping's payload

	FirstOptional Type = 128

	TypeNotice Type = 128 // replica: what of the agent's targets it does not grant
	TypeChange Type = 129 // agent: what of its targets is otherwise than it said last
	TypeToken  Type = 130 // replica: a token in the place of the one that the agent has
	TypeKept   Type = 131 // agent: which token it would come back with
)

// HeaderSize is the length of a frame's header, in bytes. All numbers of the
// protocol are big-endian.
//
//	 0       1       2       3       4               8                      16
//	┌───────┬───────┬───────┬───────┬───────────────┬───────────────────────┐
//	│ type  │attempt│must   │may    │ payload length│ scrape ID             │ payload…
//	└───────┴───────┴───────┴───────┴───────────────┴───────────────────────┘
//
// attempt counts a scrape's tries from 1; it and the scrape ID are 0 in frames
// that belong to no scrape. must and may are flags, all 0 in this version: a
// receiver refuses a frame with a must flag that it does not know and ignores
// the may flags that it does not know.
const HeaderSize = 16

// A Frame is one of the protocol's units. A decoded Payload is a slice of the
// message it was decoded from.
type Frame struct {
	Type    Type
	Attempt uint8
	Scrape  ScrapeID
	Payload []byte
}

// What makes a message undecodable. The errors of this package wrap them.
var (
	ErrTruncated = errors.New("truncated")
	ErrTooLarge  = errors.New("over the limit")
	ErrUnknown   = errors.New("unknown frame")
	ErrMalformed = errors.New("malformed")
)

// Append appends the encoded frame to b. It panics if the payload is longer
// than MaxPayload: who builds a frame keeps to the limits.
func (f Frame) Append(b []byte) []byte {
	if len(f.Payload) > MaxPayload {
		panic(fmt.Sprintf("wire: %v frame of %d bytes", f.Type, len(f.Payload)))
	}
	b = append(b, byte(f.Type), f.Attempt, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Payload)))
	b = binary.BigEndian.AppendUint64(b, uint64(f.Scrape))
	return append(b, f.Payload...)
}

// Size is the length of the encoded frame, in bytes.
func (f Frame) Size() int { return HeaderSize + len(f.Payload) }

// Next decodes the first frame of b and returns what follows it. Frames of
// unknown optional types are returned too; their receiver ignores them.
func Next(b []byte) (f Frame, rest []byte, err error) {
	if len(b) < HeaderSize {
		return Frame{}, nil, fmt.Errorf("frame header: %w", ErrTruncated)
	}
	n := binary.BigEndian.Uint32(b[4:8])
	if n > MaxPayload {
		return Frame{}, nil, fmt.Errorf("frame of %d bytes: %w", n, ErrTooLarge)
	}
	if uint64(len(b)) < HeaderSize+uint64(n) {
		return Frame{}, nil, fmt.Errorf("frame payload: %w", ErrTruncated)
	}
	f = Frame{
		Type:    Type(b[0]),
		Attempt: b[1],
		Scrape:  ScrapeID(binary.BigEndian.Uint64(b[8:16])),
		Payload: b[HeaderSize : HeaderSize+n : HeaderSize+n],
	}
	if !f.Type.known() && f.Type < FirstOptional {
		return Frame{}, nil, fmt.Errorf("frame type %d: %w", f.Type, ErrUnknown)
	}
	if b[2] != 0 {
		return Frame{}, nil, fmt.Errorf("frame flags %#x: %w", b[2], ErrUnknown)
	}
	return f, b[HeaderSize+n:], nil
}

// String is the type's name as PROTOCOL.md writes it.
func (t Type) String() string {
	if t.known() {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

func (t Type) known() bool { return t >= TypeHello && t <= TypePong }

var typeNames = [...]string{
	TypeHello: "HELLO", TypeWelcome: "WELCOME", TypeTargets: "TARGETS",
	TypeRequest: "REQUEST", TypeHead: "HEAD", TypeData: "DATA", TypeEnd: "END",
	TypeCredit: "CREDIT", TypeCancel: "CANCEL", TypeAck: "ACK", TypeNack: "NACK",
	TypeDrain: "DRAIN", TypePing: "PING", TypePong: "PONG",
}

// CutMessage splits whole encoded frames, as Append left them, into as many as
// fit one message and the rest.
func CutMessage(frames []byte) (message, rest []byte) {
	n := 0
	for n+HeaderSize <= len(frames) {
		size := HeaderSize + int(binary.BigEndian.Uint32(frames[n+4:n+8]))
		if n > 0 && n+size > MaxMessage {
			break
		}
		n += size
	}
	n = min(n, len(frames))
	return frames[:n], frames[n:]
}
