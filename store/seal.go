package store

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A Keyring is the relay's keys. They are known by IDs of 8 hexadecimal digits; the
// first signs tokens, all check them.
type Keyring interface {
	KeyIDs() []string
	// Derive makes a key of 32 bytes from the one of that ID, another for each
	// purpose; nil if that one is not there.
	Derive(id, purpose string) []byte
}

// Envelopes are sealed, so that who may write to Redis and has no key of the
// relay's reaches no agent: relay/decisions/signed-envelopes.md. The tag is GMAC's,
// which is AES-GCM that encrypts nothing. Its key belongs to one sender and one
// receiver, so that an envelope is worth nothing in another inbox, and must never
// see a number twice: the sender counts its envelopes, and its name is new with
// each process.
func newTagger(keys Keyring, id string, from, to wire.ReplicaID) cipher.AEAD {
	secret := keys.Derive(id, fmt.Sprintf("farscrape bus, from %s to %s", from, to))
	if secret == nil {
		return nil
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(fmt.Sprintf("store: Derive made a key of %d bytes: %v", len(secret), err))
	}
	tagger, err := cipher.NewGCM(block)
	if err != nil {
		panic(fmt.Sprintf("store: GCM: %v", err)) // of AES, which has its block size
	}
	return tagger
}

// A nonce is GCM's: a seal's number, after four zeros.
type nonce [12]byte

func (n *nonce) of(number uint64) []byte {
	binary.BigEndian.PutUint64(n[4:], number)
	return n[:]
}

// A tagger makes or checks the tags between this replica and another, by the key of
// that ID.
type tagger struct {
	key string
	cipher.AEAD
}

// A sealer seals what this replica sends. The sender's goroutine has it.
type sealer struct {
	self    wire.ReplicaID
	keys    Keyring
	ids     []string // of keys
	taggers map[wire.ReplicaID]tagger
	number  uint64
	nonce   nonce
}

// use sets the keys to use from now on.
func (s *sealer) use(keys Keyring) {
	if s.keys != keys {
		s.keys, s.ids = keys, keys.KeyIDs()
		s.taggers = make(map[wire.ReplicaID]tagger)
	}
}

// seal appends a seal to b, an envelope to a replica with those keys: by our first
// that it has, since keys are exchanged here sooner than there.
func (s *sealer) seal(b []byte, to wire.ReplicaID, theirs []string) []byte {
	id := s.ids[0]
	if i := slices.IndexFunc(s.ids, func(id string) bool { return slices.Contains(theirs, id) }); i > 0 {
		id = s.ids[i]
	}
	t, ok := s.taggers[to]
	if !ok || t.key != id {
		if len(s.taggers) >= maxPeers {
			clear(s.taggers)
		}
		t = tagger{id, newTagger(s.keys, id, s.self, to)}
		s.taggers[to] = t
	}
	s.number++
	b = wire.AppendSeal(b, id, s.number)
	return t.Seal(b, s.nonce.of(s.number), nil, b)
}

// What is wrong with a seal.
var (
	errUnsealed   = errors.New("it has no seal")
	errUnknownKey = errors.New("it is sealed with a key that is not one of ours: is FARSCRAPE_KEY_FILE the same everywhere?")
	errBadSeal    = errors.New("its seal is wrong")
)

// A checker checks the seals of what this replica receives. The inbox's goroutine
// has it.
type checker struct {
	self    wire.ReplicaID
	keys    Keyring
	retire  time.Duration // how long the keys before these count
	retired Keyring       // until then
	until   time.Time
	taggers map[wire.ReplicaID]tagger // that were right once
	nonce   nonce
}

// use sets the keys to use from now on.
func (c *checker) use(keys Keyring, now time.Time) {
	switch {
	case c.keys != keys:
		c.retired, c.until, c.keys = c.keys, now.Add(c.retire), keys
	case c.retired != nil && now.After(c.until):
		c.retired = nil
	default:
		return
	}
	c.taggers = make(map[wire.ReplicaID]tagger)
}

// check says what is wrong with the seal of an envelope, whose bytes are b.
func (c *checker) check(e *wire.Envelope, b []byte) error {
	t, known := c.taggers[e.From]
	if !known || t.key != string(e.Seal.Key) {
		known, t = false, tagger{key: string(e.Seal.Key)}
		if t.AEAD = newTagger(c.keys, t.key, e.From, c.self); t.AEAD == nil && c.retired != nil {
			t.AEAD = newTagger(c.retired, t.key, e.From, c.self)
		}
		if t.AEAD == nil {
			return errUnknownKey
		}
	}
	if _, err := t.Open(nil, c.nonce.of(e.Seal.Number), e.Seal.Tag, b[:len(b)-len(e.Seal.Tag)]); err != nil {
		return errBadSeal
	}
	if !known {
		if len(c.taggers) >= maxPeers {
			clear(c.taggers)
		}
		c.taggers[e.From] = t
	}
	return nil
}
