package token

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// What a token is refused by though it verifies.
var (
	// ErrRevoked: it has been taken back.
	ErrRevoked = errors.New("token has been taken back")
	// ErrRevokedUnknown: nobody can say whether it has, and none is taken meanwhile.
	ErrRevokedUnknown = errors.New("what has been taken back is not known yet")
)

// Revoked holds what a replica knows to be taken back, which may change at any time:
// what its store says, which all replicas share, and what its own file does.
type Revoked struct {
	mu  sync.Mutex // of writers
	now atomic.Pointer[TakenBack]
}

// NewRevoked returns one that knows that there is none.
func NewRevoked() *Revoked {
	r := new(Revoked)
	r.now.Store(&TakenBack{known: true})
	return r
}

// AwaitRevoked returns one whose store is still to say what there is. Meanwhile it may
// refuse all tokens.
func AwaitRevoked(refuse bool) *Revoked {
	r := new(Revoked)
	r.now.Store(&TakenBack{refuse: refuse})
	return r
}

// SetStored takes what the store says. From then on it is known.
func (r *Revoked) SetStored(set *wire.Revocations) {
	r.change(func(t *TakenBack) { t.stored, t.known = set, true })
}

// SetListed takes what the file says, in the place of what it said before.
func (r *Revoked) SetListed(set *wire.Revocations) {
	r.change(func(t *TakenBack) { t.listed = set })
}

func (r *Revoked) change(f func(t *TakenBack)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r.now.Load()
	f(&next)
	r.now.Store(&next)
}

// Now is what is known now.
func (r *Revoked) Now() *TakenBack { return r.now.Load() }

// TakenBack is what is known to be taken back at one time. It does not change.
type TakenBack struct {
	stored, listed *wire.Revocations
	known, refuse  bool
}

// Known reports whether the store has said what it has.
func (t *TakenBack) Known() bool { return t.known }

// Len is how many revocations there are, lifted ones with them.
func (t *TakenBack) Len() int { return t.stored.Len() + t.listed.Len() }

// aheadMost is how far the clock of who issued a token may be ahead: a machine whose
// time zone is wrong is not a day off, and who forges tokens with a stolen key would
// choose a time that no revocation is as late as.
const aheadMost = 24 * time.Hour

// firstIssued is when a token was first issued, in Unix seconds, for holding it against
// revocations: before all of them, if it does not say so or nobody can have done so yet.
func firstIssued(c Claims) int64 {
	if c.First.After(time.Now().Add(aheadMost)) {
		return time.Time{}.Unix()
	}
	return c.First.Unix()
}

// Dead says by which revocation a token is dead, if by any, whose holder goes by a name.
// Of an agent's that is for a pattern no other name counts: a revocation that took back
// all of them takes back this one, and one for some of them leaves the token to the rest.
func (t *TakenBack) Dead(c Claims, name string) (by wire.RevokedSubject, dead bool) {
	kind := wire.RevokedAgent
	if c.Role == Scraper {
		kind = wire.RevokedScraper
	}
	first := firstIssued(c)
	for _, set := range []*wire.Revocations{t.stored, t.listed} {
		if by, dead = set.Dead(kind, c.Tenant, name, c.ID, first); dead {
			return by, true
		}
	}
	return by, false
}

// Check says why a token that verifies is not taken: it is nil, ErrRevoked or
// ErrRevokedUnknown.
func (t *TakenBack) Check(c Claims, name string) error {
	if _, dead := t.Dead(c, name); dead {
		return ErrRevoked
	}
	if !t.known && t.refuse {
		return ErrRevokedUnknown
	}
	return nil
}
