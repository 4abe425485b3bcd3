package token

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// JoinedLife is how long the token lives that an agent gets by joining. It is renewed.
const JoinedLife = 90 * 24 * time.Hour

// ErrNotJoin: the token is not one to join by.
var ErrNotJoin = errors.New("not a join token")

// Joined is what the token will say that who redeems a join token gets: of one name, with
// the join token's rights, and renewable. It was first issued when the join token was
// made, so that to take an agent back takes its place by that join token back, too.
// Whoever redeems it again gets one of the same ID. It lives no longer than mostLife from
// its first issue, if that is not 0.
func (c Claims) Joined(name string, by wire.JoinID, now time.Time, mostLife time.Duration) Claims {
	id := sha256.Sum256([]byte(c.ID + " " + string(by)))
	now = now.UTC().Truncate(time.Second)
	expires := now.Add(JoinedLife)
	if last := c.Issued.Add(mostLife); mostLife > 0 && last.Before(expires) {
		expires = last
	}
	return Claims{
		ID: hex.EncodeToString(id[:idSize]), Role: Agent, Name: name, Tenant: c.Tenant,
		Addresses: c.Addresses, From: c.From, Labels: c.Labels, Renewable: true,
		Issued: now, First: c.Issued, Expires: expires,
	}
}

// MintJoined makes the token of who redeems the join token.
func (k *Keyring) MintJoined(join Claims, name string, by wire.JoinID, now time.Time, mostLife time.Duration) (token string, minted Claims, err error) {
	if join.Role != Join || !k.Has(join.Key) {
		return "", Claims{}, ErrNotJoin
	}
	c := join.Joined(name, by, now, mostLife)
	if err := c.check(); err != nil {
		return "", Claims{}, fmt.Errorf("mint token: %w", err)
	}
	return k.sign(c)
}

// checkJoin reports what is wrong with the claims of a join token.
func (c Claims) checkJoin() error {
	switch {
	case c.Agents != "":
		return errors.New("a join token names no other agents")
	case c.Renewable:
		return errors.New("a join token is not renewed: mint another")
	case c.Expires.IsZero():
		return errors.New("a join token must end")
	case c.Uses < 1 || c.Uses > wire.MaxJoins:
		return fmt.Errorf("%d uses: must be 1 to %d", c.Uses, wire.MaxJoins)
	case c.IsGlob():
		return checkPattern(c.Name)
	}
	return wire.CheckAgentName(c.Name)
}
