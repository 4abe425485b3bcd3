package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Extensions are what ends a REQUEST, HEAD, END or NACK, encoded: any number of
//
//	u16 type   u16 length   so many bytes
//
// That is the room of these frames to grow. Whoever does not know a type ignores it
// and passes it on: a REQUEST reaches the agent, and its answer the edge, as they
// were sent. A sender adds what a receiver must know about only if that has said so,
// by its features or in the REQUEST.
type Extensions []byte

// An ExtensionType says what an extension is. Values are for ever.
type ExtensionType uint16

// ExtensionReasons is of a REQUEST: u8, the highest reason that the edge knows. In
// its answer comes no other. Without it that is Canceled.
const ExtensionReasons ExtensionType = 1

// FeatureExtensions is listed in HELLO and WELCOME by who passes extensions on and
// ignores those that it does not know.
const FeatureExtensions = "extensions"

// AgentFeatures and ReplicaFeatures are those of this build, for HELLO and WELCOME.
func AgentFeatures() []string   { return []string{FeatureExtensions, FeatureRenewal} }
func ReplicaFeatures() []string { return []string{FeatureExtensions, FeatureChanges} }

// With appends an extension. All of a frame have MaxExtensions bytes at the most.
func (x Extensions) With(t ExtensionType, value []byte) Extensions {
	x = binary.BigEndian.AppendUint16(x, uint16(t))
	x = binary.BigEndian.AppendUint16(x, uint16(len(value)))
	return append(x, value...)
}

// Get returns the first extension of a type.
func (x Extensions) Get(t ExtensionType) (value []byte, ok bool) {
	for len(x) > 0 {
		var found ExtensionType
		if found, value, x, ok = x.next(); !ok || found == t {
			return value, ok
		}
	}
	return nil, false
}

// next splits the first extension off; ok is false if it is not whole.
func (x Extensions) next() (t ExtensionType, value []byte, rest Extensions, ok bool) {
	if len(x) < 4 {
		return 0, nil, nil, false
	}
	t, n := ExtensionType(binary.BigEndian.Uint16(x)), int(binary.BigEndian.Uint16(x[2:]))
	if len(x) < 4+n {
		return 0, nil, nil, false
	}
	return t, x[4 : 4+n], x[4+n:], true
}

// extensions reads what is left of a payload, which is a copy of it.
func (r *reader) extensions() Extensions {
	if r.err != nil || len(r.b) == 0 {
		return nil
	}
	if len(r.b) > MaxExtensions {
		r.err = fmt.Errorf("%d bytes of extensions: %w", len(r.b), ErrTooLarge)
		return nil
	}
	for x := Extensions(r.b); len(x) > 0; {
		var ok bool
		if _, _, x, ok = x.next(); !ok {
			r.err = fmt.Errorf("an extension: %w", ErrTruncated)
			return nil
		}
	}
	return bytes.Clone(r.b)
}
