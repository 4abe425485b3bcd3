package wire

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
)

// IDSize is the length of an instance, link or replica ID: 8 random bytes in
// lower-case hexadecimal.
const IDSize = 16

type (
	// InstanceID names one agent process: random, new with each start.
	InstanceID string
	// LinkID names one link. The replica that accepts it draws it.
	LinkID string
	// ReplicaID names one replica process: random, new with each start.
	ReplicaID string
	// ScrapeID names one scrape on every hop: 8 random bytes, drawn by the edge.
	ScrapeID uint64
)

// NewID draws an instance, link or replica ID.
func NewID[T InstanceID | LinkID | ReplicaID]() T {
	var b [IDSize / 2]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return T(hex.EncodeToString(b[:]))
}

// NewScrapeID draws a scrape ID.
func NewScrapeID() ScrapeID {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return ScrapeID(binary.BigEndian.Uint64(b[:]))
}

// String is the ID in hexadecimal, as logs show it.
func (id ScrapeID) String() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return hex.EncodeToString(b[:])
}

// ValidID reports whether s has the form that NewID draws.
func ValidID(s string) bool {
	if len(s) != IDSize {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
