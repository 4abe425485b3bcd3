package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"unsafe"
)

// MarshalTargets encodes a target list as TARGETS frames, each of which fits a
// message of its own. A payload is JSON: {"targets": […], "more": true}; the
// last has no more.
func MarshalTargets(targets []Target) ([]Frame, error) {
	const envelope = len(`{"targets":[],"more":true}`)
	var frames []Frame
	var part []byte
	flush := func(more bool) {
		payload := append([]byte(`{"targets":[`), part...)
		payload = append(payload, ']')
		if more {
			payload = append(payload, `,"more":true`...)
		}
		frames = append(frames, Frame{Type: TypeTargets, Payload: append(payload, '}')})
		part = nil
	}
	for i := range targets {
		b, err := json.Marshal(&targets[i])
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", targets[i].Name, err)
		}
		if len(b)+envelope > MaxPayload {
			return nil, fmt.Errorf("target %s: %d bytes: %w", targets[i].Name, len(b), ErrTooLarge)
		}
		if len(part)+1+len(b)+envelope > MaxPayload {
			flush(true)
		}
		if len(part) > 0 {
			part = append(part, ',')
		}
		part = append(part, b...)
	}
	flush(false)
	return frames, nil
}

// A ListHash names a target list by its encoding.
type ListHash [sha256.Size]byte

// A TargetList puts a list together from its TARGETS frames. It keeps their
// payloads as they came until it is whole, for a decoded list takes up to 13
// times as much memory, and a list that is known already need not be decoded. The
// zero value is ready, and bounded by what the protocol allows.
type TargetList struct {
	Limits TargetLimits

	parts [][]byte
	bytes int
}

// Add takes the payload of the next TARGETS frame, and says whether the list is
// whole.
func (l *TargetList) Add(payload []byte) (whole bool, err error) {
	limits := l.Limits.orMost()
	if l.bytes += len(payload); l.bytes > limits.Bytes {
		return false, limits.over("bytes of targets", l.bytes, limits.Bytes, "BYTES")
	}
	part, err := parseControl[struct {
		More bool `json:"more"`
	}]("TARGETS", payload)
	if err != nil {
		return false, err
	}
	l.parts = append(l.parts, bytes.Clone(payload))
	return !part.More, nil
}

// Bytes is how long the list is, encoded, so far.
func (l *TargetList) Bytes() int { return l.bytes }

// Hash names the list, once it is whole.
func (l *TargetList) Hash() (sum ListHash) {
	h := sha256.New()
	for _, part := range l.parts {
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

// Drop makes ready for the next list.
func (l *TargetList) Drop() { l.parts, l.bytes = nil, 0 }

// Take decodes and checks the list, once it is whole, and makes ready for the
// next one. Strings that come back share their memory.
func (l *TargetList) Take() ([]Target, error) {
	defer l.Drop()
	limits := l.Limits.orMost()
	var targets []Target
	same := make(interned)
	for _, payload := range l.parts {
		part, err := parseControl[struct {
			Targets []Target `json:"targets"`
		}]("TARGETS", payload)
		if err != nil {
			return nil, err
		}
		if n := len(targets) + len(part.Targets); n > limits.Targets {
			return nil, limits.over("targets", n, limits.Targets, "TARGETS")
		}
		for i := range part.Targets {
			t := &part.Targets[i]
			if len(t.Labels) > limits.Labels {
				return nil, limits.over("labels", len(t.Labels), limits.Labels, "LABELS")
			}
			same.target(t)
		}
		targets = append(targets, part.Targets...)
	}
	return targets, CheckTargets(targets)
}

// ParseTargets decodes and checks a list that stands in JSON as one. Strings that
// come back share their memory.
func ParseTargets(list string) ([]Target, error) {
	targets, ok := readList(list)
	if !ok {
		var err error
		if targets, err = readAnyList(list); err != nil {
			return nil, err
		}
	}
	return targets, CheckTargets(targets)
}

// readAnyList reads a list of any form.
func readAnyList(list string) (targets []Target, err error) {
	if err := json.Unmarshal([]byte(list), &targets); err != nil {
		return nil, err
	}
	same := make(interned)
	for i := range targets {
		same.target(&targets[i])
	}
	return targets, nil
}

// interned are the strings of a list that were met before.
type interned map[string]string

func (m interned) string(s string) string {
	if known, ok := m[s]; ok {
		return known
	}
	s = strings.Clone(s)
	m[s] = s
	return s
}

func (m interned) target(t *Target) {
	t.Scheme, t.Path = m.string(t.Scheme), m.string(t.Path)
	if len(t.Labels) == 0 {
		t.Labels = nil
		return
	}
	labels := make(map[string]string, len(t.Labels)) // no larger than it must be
	for name, value := range t.Labels {
		labels[m.string(name)] = m.string(value)
	}
	t.Labels = labels
}

// SizeOf estimates what a decoded list takes in memory, in bytes, as if it shared no
// text with itself or another.
func SizeOf(targets []Target) (n int) {
	for i := range targets {
		t := &targets[i]
		n += int(unsafe.Sizeof(*t)) + len(t.Name) + len(t.Address) + len(t.Path)
		if labels := len(t.Labels); labels > 8 {
			n += 64 * labels // a table of up to twice as many places, of 33 bytes
		} else if labels > 0 {
			n += 320 // one group of eight places
		}
		for name, value := range t.Labels {
			n += len(name) + len(value)
		}
	}
	return n
}
