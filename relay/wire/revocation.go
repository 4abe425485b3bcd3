package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// A RevokedKind says whose tokens a revocation takes back.
type RevokedKind string

// The kinds of revocation.
const (
	RevokedAgent   RevokedKind = "agent"   // an agent's, or those of all agents that fit a pattern
	RevokedScraper RevokedKind = "scraper" // a scraper's
	RevokedToken   RevokedKind = "token"   // the one of that ID, and what it was renewed to
)

// What bounds the revocations that a fleet has, lifted ones with them: 10,000 take
// 3 MiB of a replica. Patterns are fewer, since each link is held against each.
const (
	MaxRevocations     = 10_000
	MaxRevokedPatterns = 1_000
)

// maxRevokedName bounds a subject's name, in bytes: a pattern is no longer than a name.
const maxRevokedName = 253

// A RevokedSubject is what a revocation takes back: of one subject there is one.
type RevokedSubject struct {
	Kind   RevokedKind
	Tenant string // empty for a token: its ID is nobody else's
	Name   string // an agent's, or a pattern of agents'; a scraper's; a token's ID
}

// Check reports why nothing of that subject can be taken back.
func (s RevokedSubject) Check() error {
	if s.Kind == RevokedToken {
		if id, err := hex.DecodeString(s.Name); err != nil || len(id) != 8 || s.Name != strings.ToLower(s.Name) {
			return errors.New("a token's ID has 16 digits of 0-9 a-f: farscrape-relay token and the relay's log tell it as token_id")
		}
		if s.Tenant != "" {
			return errors.New("a token's ID is nobody else's, and takes no tenant")
		}
		return nil
	}
	if err := CheckName("tenant", s.Tenant); err != nil {
		return err
	}
	switch s.Kind {
	case RevokedScraper:
		return CheckName("scraper", s.Name)
	case RevokedAgent:
		if !IsGlob(s.Name) {
			return CheckAgentName(s.Name)
		}
		return checkAgentPattern(s.Name)
	}
	return fmt.Errorf("kind %.16q: must be agent, scraper or token", string(s.Kind))
}

func checkAgentPattern(pattern string) error {
	if len(pattern) > maxRevokedName {
		return fmt.Errorf("pattern of %d bytes: must have at most %d", len(pattern), maxRevokedName)
	}
	for i := range len(pattern) {
		if c := pattern[i]; c <= ' ' || c > '~' || 'A' <= c && c <= 'Z' {
			return fmt.Errorf("pattern %q: no agent is called so", pattern)
		}
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return nil
}

// String is the subject as it is kept: kind, tenant and name.
func (s RevokedSubject) String() string {
	return string(s.Kind) + ":" + s.Tenant + ":" + s.Name
}

// ParseRevokedSubject reads what String has made.
func ParseRevokedSubject(text string) (RevokedSubject, error) {
	kind, rest, _ := strings.Cut(text, ":")
	tenant, name, ok := strings.Cut(rest, ":")
	s := RevokedSubject{Kind: RevokedKind(kind), Tenant: tenant, Name: name}
	if !ok {
		return RevokedSubject{}, fmt.Errorf("subject %.80q: %w", text, ErrMalformed)
	}
	return s, s.Check()
}

// A Revocation takes back what was first issued to its subject before a time. What is
// issued later is good.
type Revocation struct {
	RevokedSubject
	Before int64 // Unix time, in seconds; MaxBefore: whenever it was issued
	Made   int64 // when it was last made, Unix time in ms; not 0
	Lifted int64 // and when it was last lifted; 0: never
}

// MaxBefore is later than anything is issued. Lua and JSON have it exactly.
const MaxBefore = 1<<53 - 1

// Holds reports whether the revocation was not lifted since it was made.
func (r Revocation) Holds() bool { return r.Made > r.Lifted }

// gone reports whether it was lifted before a time.
func (r Revocation) gone(lifted int64) bool { return !r.Holds() && r.Lifted < lifted }

// BeforeText is Before for people.
func (r Revocation) BeforeText() string {
	if r.Before >= MaxBefore {
		return "any time"
	}
	return time.Unix(r.Before, 0).UTC().Format(time.RFC3339)
}

// Join is what two copies of one revocation say together. The later of all times
// counts, so it is the same in whatever order copies are joined, and however often.
func (r Revocation) Join(o Revocation) Revocation {
	r.Before, r.Made, r.Lifted = max(r.Before, o.Before), max(r.Made, o.Made), max(r.Lifted, o.Lifted)
	return r
}

// check reports why r can be no revocation: what is read may have been written by
// anybody who may write there.
func (r Revocation) check() error {
	for _, n := range []int64{r.Before, r.Made, r.Lifted} {
		if n < 0 || n > MaxBefore {
			return fmt.Errorf("revocation of %s: a time of %d: %w", r.RevokedSubject, n, ErrMalformed)
		}
	}
	if r.Made == 0 {
		return fmt.Errorf("revocation of %s: it was never made: %w", r.RevokedSubject, ErrMalformed)
	}
	return r.RevokedSubject.Check()
}
