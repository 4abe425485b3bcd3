// Package token makes and checks the signed tokens that agents and scrapers
// show. A token says all there is to know of its holder, so checking one asks
// nobody: every replica that has the key can do it alone, Redis or not.
//
// Tokens are JSON Web Tokens, signed with HMAC-SHA-256 and nothing else. Their
// header's kid is the first 8 hex digits of the key's SHA-256, and the claims
// are
//
//	aud     "farscrape"
//	role    "agent", "scraper" or "join"
//	sub     the agent's name, or a pattern of names; the scraper's name
//	tenant  absent: wire.DefaultTenant
//	agents  a scraper's: the pattern of agents it may scrape; absent: all
//	addresses  an agent's: the pattern of addresses its targets may declare
//	from    the networks that it may be shown from; absent: any
//	exp     absent: never
//	iat     when it was made
//	first   when the first of those that it renews was, or the one that was redeemed
//	        for it; absent: there is none
//	renew   true: a relay may give its holder another, in time
//	uses    a join token's: how many agents may join by it
//	labels  a joined agent's, and the join token's: for its targets, a=b,c=d
//	jti     its ID, by which it can be revoked
package token

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/farscrape/farscrape/relay/wire"
)

// A Role says what the holder of a token is.
type Role string

// The roles.
const (
	Agent   Role = "agent"   // may open links
	Scraper Role = "scraper" // may scrape and discover
	Join    Role = "join"    // may redeem it for the token of an agent whose name fits
)

// Claims are what a token says of its holder.
type Claims struct {
	ID     string // drawn by Mint; what a revocation names
	Role   Role
	Name   string // of the agent, or a pattern of agents' names; of the scraper; of who may join
	Tenant string // Mint takes empty as wire.DefaultTenant
	Agents string // a scraper's: the pattern of agents it may scrape; empty: all
	// Addresses is an agent's: the pattern of proxy-mode addresses that its
	// targets may declare, before anybody whose token does not say so; empty: any
	// that nobody has.
	Addresses string
	From      string    // networks that it may be shown from, separated by commas; empty: any
	Expires   time.Time // zero: never; whole seconds, UTC
	Renewable bool      // a relay may give its holder another, in time; an agent's for one name only
	Issued    time.Time // when it was made; set by Mint; whole seconds, UTC
	// First is when the first of those that it renews was made: what was first issued
	// before a revocation is dead by it. Mint takes zero as Issued. Of a token that
	// says neither both are zero, and any revocation of its holder's takes it back.
	First  time.Time
	Uses   int    // how many may join by it: 1 to wire.MaxJoins; of all others 0
	Labels string // which the targets get of who joins, name=value with commas between them
	Key    string // the ID of the key that signed it; set by Mint and Verify
}

// What Verify answers to a token that it does not take.
var (
	// ErrInvalid: not a token of ours.
	ErrInvalid = errors.New("token is not valid")
	// ErrOtherKey: an ErrInvalid that says it was signed with a key that is not here.
	ErrOtherKey = errors.New("signed with another key")
	// ErrNotYet: an ErrInvalid whose time has not come.
	ErrNotYet = errors.New("not yet")
	// ErrExpired: a token of ours, whose time is up.
	ErrExpired = errors.New("token has expired")
)

const (
	audience = "farscrape"
	maxSize  = wire.MaxToken
	// maxPattern bounds a pattern of agents' names, in bytes.
	maxPattern = 253
	// maxLabels bounds the labels in a token, in bytes.
	maxLabels = 1 << 10
)

// body is the token's claims as they are encoded.
type body struct {
	jwt.RegisteredClaims
	Role   Role   `json:"role"`
	Tenant string `json:"tenant,omitempty"`
	Agents string `json:"agents,omitempty"`

	Addresses string           `json:"addresses,omitempty"`
	From      string           `json:"from,omitempty"`
	First     *jwt.NumericDate `json:"first,omitempty"`
	Renew     bool             `json:"renew,omitempty"`
	Uses      int              `json:"uses,omitempty"`
	Labels    string           `json:"labels,omitempty"`
}

// IsGlob reports whether an agent's token is for a pattern of names.
func (c Claims) IsGlob() bool { return wire.IsGlob(c.Name) }

// AllowsAgent reports whether an agent's token lets its holder go by that name, a join
// token lets it become the agent of that name, or a scraper's lets it scrape that.
func (c Claims) AllowsAgent(name string) bool {
	switch c.Role {
	case Agent, Join:
		return c.Name == name || wire.MatchGlob(c.Name, name)
	case Scraper:
		return c.Agents == "" || wire.MatchGlob(c.Agents, name)
	}
	return false
}

// Mint makes a token that says c, signed with the first key, and returns it
// with what Verify will say of it. Names of agents and patterns are folded to
// lower case.
func (k *Keyring) Mint(c Claims, now time.Time) (token string, minted Claims, err error) {
	if c.Tenant == "" {
		c.Tenant = wire.DefaultTenant
	}
	if c.Role != Scraper {
		c.Name = strings.ToLower(c.Name)
	}
	c.Agents, c.Addresses = strings.ToLower(c.Agents), strings.ToLower(c.Addresses)
	if !c.Expires.IsZero() {
		c.Expires = c.Expires.UTC().Truncate(time.Second)
		if !now.Before(c.Expires) {
			return "", Claims{}, fmt.Errorf("mint token: expires at %s, which is past", c.Expires.Format(time.RFC3339))
		}
	}
	if c.From, err = canonical(c.From); err == nil {
		err = c.check()
	}
	if err != nil {
		return "", Claims{}, fmt.Errorf("mint token: %w", err)
	}
	c.ID, c.Issued = newID(), now.UTC().Truncate(time.Second)
	if c.First.IsZero() {
		c.First = c.Issued
	}
	c.First = c.First.UTC().Truncate(time.Second)
	return k.sign(c)
}

// sign makes the token that says c, but for the key, which is the first.
func (k *Keyring) sign(c Claims) (token string, signed Claims, err error) {
	c.Key = k.ids[0]
	b := body{
		RegisteredClaims: jwt.RegisteredClaims{
			Audience: jwt.ClaimStrings{audience},
			Subject:  c.Name,
			ID:       c.ID,
			IssuedAt: jwt.NewNumericDate(c.Issued),
		},
		Role:   c.Role,
		Agents: c.Agents, Addresses: c.Addresses, From: c.From, Renew: c.Renewable,
		Uses: c.Uses, Labels: c.Labels,
	}
	if c.Tenant != wire.DefaultTenant {
		b.Tenant = c.Tenant
	}
	if !c.First.Equal(c.Issued) {
		b.First = jwt.NewNumericDate(c.First)
	}
	if !c.Expires.IsZero() {
		b.ExpiresAt = jwt.NewNumericDate(c.Expires)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, b)
	t.Header["kid"] = c.Key
	if token, err = t.SignedString(k.keys[c.Key]); err != nil {
		return "", Claims{}, fmt.Errorf("sign token: %w", err)
	}
	return token, c, nil
}

// Verify returns what a token says, if one of the keys signed it and its time
// is not up. Else the error wraps ErrInvalid or ErrExpired, and says nothing
// that must stay secret. Of one that has expired it returns what it said, too.
func (k *Keyring) Verify(token string, now time.Time) (Claims, error) {
	if len(token) > maxSize {
		return Claims{}, fmt.Errorf("%w: %d bytes", ErrInvalid, len(token))
	}
	seen := sum(token)
	c, ok := k.verified.get(seen)
	if !ok {
		var err error
		if c, err = k.parse(token, now); err != nil {
			return Claims{}, err
		}
	}
	if !c.Expires.IsZero() && !now.Before(c.Expires) {
		return c, fmt.Errorf("%w at %s", ErrExpired, c.Expires.Format(time.RFC3339))
	}
	if !ok && c.Role == Scraper { // an agent shows its token once a link
		k.verified.put(seen, c)
	}
	return c, nil
}

// parse checks everything but the expiry.
func (k *Keyring) parse(token string, now time.Time) (Claims, error) {
	var b body
	t, err := k.parser.ParseWithClaims(token, &b, k.signer)
	switch {
	case errors.Is(err, ErrOtherKey):
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, ErrOtherKey)
	case err != nil: // its text may hold parts of the token
		return Claims{}, ErrInvalid
	case len(b.Audience) != 1 || b.Audience[0] != audience:
		return Claims{}, fmt.Errorf("%w: not made for Farscrape", ErrInvalid)
	case b.NotBefore != nil && now.Before(b.NotBefore.Time):
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, ErrNotYet)
	}
	c := Claims{ID: b.ID, Role: b.Role, Name: b.Subject, Tenant: b.Tenant, Agents: b.Agents, Addresses: b.Addresses, From: b.From, Renewable: b.Renew,
		Uses: b.Uses, Labels: b.Labels}
	c.Key, _ = t.Header["kid"].(string)
	if c.Tenant == "" {
		c.Tenant = wire.DefaultTenant
	}
	if b.ExpiresAt != nil {
		c.Expires = b.ExpiresAt.UTC()
	}
	if b.IssuedAt != nil {
		c.Issued = b.IssuedAt.UTC()
		c.First = c.Issued
	}
	if b.First != nil {
		c.First = b.First.UTC()
	}
	if err := c.check(); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}

// check reports what is wrong with the claims' names.
func (c Claims) check() error {
	if err := wire.CheckName("tenant", c.Tenant); err != nil {
		return err
	}
	if _, err := networks(c.From); err != nil {
		return err
	}
	if len(c.Labels) > maxLabels {
		return fmt.Errorf("labels of %d bytes: at most %d", len(c.Labels), maxLabels)
	}
	if _, err := wire.ParseLabels(c.Labels); err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	if c.Uses != 0 && c.Role != Join {
		return errors.New("only a join token is redeemed")
	}
	switch c.Role {
	case Join:
		if err := checkPattern(c.Addresses); err != nil {
			return err
		}
		return c.checkJoin()
	case Agent:
		if c.Agents != "" {
			return errors.New("an agent's token names no other agents")
		}
		if err := checkPattern(c.Addresses); err != nil {
			return err
		}
		if c.IsGlob() && c.Renewable {
			return errors.New("a token for a pattern is not renewed: it has many holders")
		}
		if c.IsGlob() {
			return checkPattern(c.Name)
		}
		return wire.CheckAgentName(c.Name)
	case Scraper:
		if c.Addresses != "" {
			return errors.New("a scraper's token declares no addresses")
		}
		if c.Labels != "" {
			return errors.New("a scraper's token has no labels: it has no targets")
		}
		if c.Renewable {
			return errors.New("a scraper's token is not renewed: it has no link to get another by")
		}
		if err := wire.CheckName("scraper", c.Name); err != nil {
			return err
		}
		return checkPattern(c.Agents)
	}
	return fmt.Errorf("role %.16q: must be agent, scraper or join", string(c.Role))
}

func checkPattern(pattern string) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("pattern of %d bytes: must have at most %d", len(pattern), maxPattern)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return nil
}

// idSize is the length of a token's ID, in bytes before they are hexadecimal.
const idSize = 8

// newID draws a token's ID.
func newID() string {
	var b [idSize]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
