package wire

import (
	"encoding/hex"
	"fmt"
	"time"
)

// FeatureRenewal is listed in HELLO by who takes another token over its link.
const FeatureRenewal = "token-renewal"

// MaxToken bounds a token, in bytes. Ours have about 300, and at most 800 with the
// longest names; past this nothing is decoded.
const MaxToken = 4 << 10

// RenewalsApart is how much sooner a token may end that an agent takes for as good as
// another of the same key: replicas that hold its links offer it one each, so much apart
// at the most.
const RenewalsApart = 15 * time.Second

// A Token is TOKEN's payload: what the agent is to show from now on, in the place of
// what it has. It is a secret.
type Token struct {
	Token string `json:"token"`
}

// A Kept is KEPT's payload: of the token that the agent would come back with if it were
// started again. It answers TOKEN, and follows WELCOME where that is not the token of
// the upgrade: the agent has that one in memory only.
type Kept struct {
	Taken   bool   `json:"taken,omitempty"`   // it answers a TOKEN, and that or one as good is what the agent shows from now on
	Key     string `json:"key"`               // the ID of the key that signed it
	Expires int64  `json:"expires,omitempty"` // Unix time, in seconds; 0: never
}

// Expiry is when it ends; zero: never.
func (k Kept) Expiry() time.Time {
	if k.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(k.Expires, 0).UTC()
}

// ParseToken decodes TOKEN's payload. Its error does not quote it.
func ParseToken(payload []byte) (*Token, error) {
	t, err := parseControl[Token]("TOKEN", payload)
	switch {
	case err != nil:
		return nil, fmt.Errorf("TOKEN: %w", ErrMalformed)
	case len(t.Token) > MaxToken:
		return nil, fmt.Errorf("TOKEN of %d bytes: %w", len(t.Token), ErrTooLarge)
	}
	for _, b := range []byte(t.Token) {
		if b <= ' ' || b >= 0x7f {
			return nil, fmt.Errorf("TOKEN: a character that no token has: %w", ErrMalformed)
		}
	}
	return t, nil
}

// latestExpiry is the last second of the year 9999: a later one is in no text of ours.
const latestExpiry = 253402300799

// ParseKept decodes KEPT's payload.
func ParseKept(payload []byte) (*Kept, error) {
	k, err := parseControl[Kept]("KEPT", payload)
	if err != nil {
		return nil, err
	}
	if id, err := hex.DecodeString(k.Key); err != nil || len(id) != 4 || k.Expires < 0 || k.Expires > latestExpiry {
		return nil, fmt.Errorf("KEPT: %w", ErrMalformed)
	}
	return k, nil
}
