package token

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// minKey is the least length of a key, in bytes: HMAC-SHA-256 with less is
// weaker than its hash (RFC 7518, 3.2).
const minKey = 32

// A Keyring holds the keys that sign and check tokens. It does not change; a
// new set of keys is a new Keyring.
type Keyring struct {
	ids      []string          // in the order of the file; the first signs
	keys     map[string][]byte // by ID
	parser   *jwt.Parser
	verified *cache
}

// ParseKeys reads keys, one a line. The first signs, all of them check. Blank
// lines and lines that start with # are ignored. Errors name lines, never keys.
func ParseKeys(text []byte) (*Keyring, error) {
	k := &Keyring{
		keys: make(map[string][]byte),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithStrictDecoding(),
			jwt.WithoutClaimsValidation(), // parse and Verify do it: what is remembered expires too
		),
		verified: newCache(),
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		key := strings.TrimSpace(line)
		if key == "" || key[0] == '#' {
			continue
		}
		if len(key) < minKey {
			return nil, fmt.Errorf("keys: line %d: %d bytes: must have at least %d", n, len(key), minKey)
		}
		id := keyID([]byte(key))
		if _, twice := k.keys[id]; twice {
			return nil, fmt.Errorf("keys: line %d: the same key as in an earlier line", n)
		}
		k.ids = append(k.ids, id)
		k.keys[id] = []byte(key)
	}
	if len(k.ids) == 0 {
		return nil, errors.New("keys: none in it")
	}
	return k, nil
}

// keyIDSize is the length of a key's ID, in bytes before they are hexadecimal.
const keyIDSize = 4

// keyID names a key without telling it.
func keyID(key []byte) string {
	hash := sha256.Sum256(key)
	return hex.EncodeToString(hash[:keyIDSize])
}

// KeyIDs are the IDs of the keys; the first is the one that signs.
func (k *Keyring) KeyIDs() []string { return slices.Clone(k.ids) }

// Derive makes a key for another use than tokens of the key of that ID: 32 bytes,
// of which each purpose has its own. It is nil if that key is not among these.
func (k *Keyring) Derive(id, purpose string) []byte {
	key, ok := k.keys[id]
	if !ok {
		return nil
	}
	derived, err := hkdf.Key(sha256.New, key, nil, purpose, sha256.Size)
	if err != nil {
		panic(fmt.Sprintf("token: derive a key: %v", err)) // of a length that HKDF has
	}
	return derived
}

// Has reports whether the key of that ID is in use.
func (k *Keyring) Has(id string) bool {
	_, ok := k.keys[id]
	return ok
}

// String is the IDs of the keys, so that a stray %v tells no secret.
func (k *Keyring) String() string { return "keys " + strings.Join(k.ids, " ") }

// signer picks the key that a token's header says has signed it.
func (k *Keyring) signer(t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical { // extensions that must be understood: there are none
		return nil, errors.New("crit in the header")
	}
	id, _ := t.Header["kid"].(string)
	key, ok := k.keys[id]
	if !ok {
		return nil, ErrOtherKey
	}
	return key, nil
}

// Keys holds the Keyring in use, which may be exchanged at any time.
type Keys struct {
	current atomic.Pointer[Keyring]
}

// NewKeys returns Keys that hold k.
func NewKeys(k *Keyring) *Keys {
	keys := new(Keys)
	keys.Set(k)
	return keys
}

// Set exchanges the Keyring.
func (k *Keys) Set(ring *Keyring) { k.current.Store(ring) }

// Current is the Keyring in use.
func (k *Keys) Current() *Keyring { return k.current.Load() }

// Verify is the current Keyring's Verify.
func (k *Keys) Verify(token string, now time.Time) (Claims, error) {
	return k.Current().Verify(token, now)
}
