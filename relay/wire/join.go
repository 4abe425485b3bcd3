package wire

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// JoinPath is where a join token is redeemed: a POST with it as a Bearer token, whose
// body is a JoinRequest, is answered with a JoinAnswer, or as any refusal is.
const JoinPath = "/agent/join"

// MaxJoin bounds the body of either, in bytes.
const MaxJoin = 8 << 10

// MaxJoins bounds how often one join token may be redeemed.
const MaxJoins = 10_000

// A JoinRequest says who wants to become an agent of its own.
type JoinRequest struct {
	Name   string `json:"name"`
	JoinID JoinID `json:"join_id"`
}

// A JoinAnswer is the agent's own token. It is a secret.
type JoinAnswer struct {
	Token string `json:"token"`
}

// A JoinID is drawn by who joins, and written down before it asks: whoever shows it
// again, with the same name, is the same, and takes no other place. It is a secret.
type JoinID string

// joinIDSize is the length of a JoinID, in bytes before they are hexadecimal.
const joinIDSize = 16

// NewJoinID draws one.
func NewJoinID() JoinID {
	var b [joinIDSize]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return JoinID(hex.EncodeToString(b[:]))
}

// Valid reports whether it has the form that NewJoinID draws.
func (id JoinID) Valid() bool {
	b, err := hex.DecodeString(string(id))
	return err == nil && len(b) == joinIDSize && hex.EncodeToString(b) == string(id)
}

// Joiner is who shows the JoinID, as others may know it: 16 bytes of its SHA-256, in
// hexadecimal.
func (id JoinID) Joiner() string {
	hash := sha256.Sum256([]byte(id))
	return hex.EncodeToString(hash[:16])
}

// ParseJoinRequest decodes a request's body. The agent's name is checked. Its error does
// not quote the JoinID.
func ParseJoinRequest(body []byte) (*JoinRequest, error) {
	var r JoinRequest
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || !errors.Is(d.Decode(new(any)), io.EOF) {
		return nil, fmt.Errorf(`join: the body must be {"name": …, "join_id": …}: %w`, ErrMalformed)
	}
	if err := CheckAgentName(r.Name); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	if !r.JoinID.Valid() {
		return nil, fmt.Errorf("join: join_id must be %d hexadecimal digits: %w", 2*joinIDSize, ErrMalformed)
	}
	return &r, nil
}

// A Join is what a store is asked to count: one redeeming of a join token.
type Join struct {
	AgentKey
	Joiner  string    // who wants to be it
	TokenID string    // of the join token
	Uses    int       // how many may join by it
	Minted  time.Time // when it was made; whole seconds
	Expires time.Time // when it ends
	// Free says that the directory knows no agent of the name. Who has joined by that
	// name needs no such word.
	Free bool
	// Instead is another joiner whose name it is, and whose tokens are taken back; empty:
	// nobody.
	Instead string
}

// What a store says of a Join that it does not count.
var (
	// ErrJoinsUsedUp: as many have joined by the token as may.
	ErrJoinsUsedUp = errors.New("as many have joined by it as may")
	// ErrJoinOld: the token was made before what the store holds was begun, so that nobody
	// knows how often it was redeemed.
	ErrJoinOld = errors.New("it is older than what this relay's store remembers")
	// ErrJoinRenamed: who joins has joined by that token under another name.
	ErrJoinRenamed = errors.New("this host has joined by it under another name")
	// ErrNameInUse: there is an agent of the name, which has not joined.
	ErrNameInUse = errors.New("an agent of that name is there already")
)

// A NameJoinedError says that another has joined by that name.
type NameJoinedError struct {
	Joiner string    // who
	First  time.Time // when the join token was made by which it did; whole seconds
}

func (e *NameJoinedError) Error() string { return "another host has joined by that name" }

// A JoinEarlyError says that the token was made after now, by the store's clock.
type JoinEarlyError struct{ By time.Duration }

func (e *JoinEarlyError) Error() string {
	return fmt.Sprintf("the clock of who made the token is %s ahead of the store's", e.By.Round(time.Millisecond))
}
