package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
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

// TargetParts put a list together from its TARGETS frames. They keep the payloads as
// they came until it is whole, for a decoded list takes up to 13 times as much memory,
// and a list that is known already need not be decoded. The zero value is ready, and
// bounded by what the protocol allows.
type TargetParts struct {
	Limits TargetLimits

	parts [][]byte
	bytes int
}

// Add takes the payload of the next TARGETS frame, and says whether the list is
// whole.
func (l *TargetParts) Add(payload []byte) (whole bool, err error) {
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
func (l *TargetParts) Bytes() int { return l.bytes }

// Sum tells a whole list from others by the bytes that came.
func (l *TargetParts) Sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, part := range l.parts {
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

// Drop makes ready for the next list.
func (l *TargetParts) Drop() { l.parts, l.bytes = nil, 0 }

// Take decodes and checks the list, once it is whole, and makes ready for the
// next one. Strings that come back share their memory.
func (l *TargetParts) Take() (*TargetList, error) {
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
	if err := CheckTargets(targets); err != nil {
		return nil, err
	}
	return NewTargetList(targets), nil
}
