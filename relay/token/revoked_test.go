package token

import (
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/farscrape/farscrape/relay/wire"
)

// revoking makes a set of one revocation that holds.
func revoking(t *testing.T, kind wire.RevokedKind, tenant, name string, before time.Time) *wire.Revocations {
	t.Helper()
	r := wire.Revocation{RevokedSubject: wire.RevokedSubject{Kind: kind, Tenant: tenant, Name: name}, Before: before.Unix(), Made: 1}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	return wire.NewRevocations([]wire.Revocation{r})
}

func TestWhatWasIssuedBeforeIsDeadAndWhatIsIssuedLaterIsGood(t *testing.T) {
	k := ring(t, keyA)
	verified := func(c Claims, at time.Time) Claims {
		t.Helper()
		signed, _, err := k.Mint(c, at)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = k.Verify(signed, at); err != nil {
			t.Fatal(err)
		}
		return c
	}
	revoked := NewRevoked()
	revoked.SetStored(revoking(t, wire.RevokedAgent, wire.DefaultTenant, "edge-*", noon))
	edge := Claims{Role: Agent, Name: "edge-1"}
	undated, err := k.Verify(sign(t, nil, jwt.MapClaims{"aud": audience, "role": "agent", "sub": "edge-1"}), noon)
	if err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		claims Claims
		name   string
		dead   bool
	}{
		"issued before":           {verified(edge, noon.Add(-time.Second)), "edge-1", true},
		"issued then":             {verified(edge, noon), "edge-1", false},
		"renewed since":           {verified(Claims{Role: Agent, Name: "edge-1", First: noon.Add(-time.Hour)}, noon.Add(time.Hour)), "edge-1", true},
		"without a date":          {undated, "edge-1", true},
		"for a pattern, by name":  {verified(Claims{Role: Agent, Name: "*"}, noon.Add(-time.Hour)), "edge-1", true},
		"the same, by another":    {verified(Claims{Role: Agent, Name: "*"}, noon.Add(-time.Hour)), "core-1", false},
		"for that very pattern":   {verified(Claims{Role: Agent, Name: "edge-*"}, noon.Add(-time.Hour)), "edge-1", true},
		"another tenant's":        {verified(Claims{Role: Agent, Name: "edge-1", Tenant: "blue"}, noon.Add(-time.Hour)), "edge-1", false},
		"a scraper's of the name": {verified(Claims{Role: Scraper, Name: "edge-1"}, noon.Add(-time.Hour)), "edge-1", false},
	} {
		if err := revoked.Now().Check(x.claims, x.name); errors.Is(err, ErrRevoked) != x.dead {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Who has a key forges what time it likes: one that nobody can have issued a token at
// keeps it from no revocation. A clock that is a little ahead is taken at its word.
func TestATokenFromFarAheadIsDeadByAnyRevocation(t *testing.T) {
	revoked := NewRevoked()
	revoked.SetStored(revoking(t, wire.RevokedAgent, wire.DefaultTenant, "edge-1", noon))
	for ahead, want := range map[time.Duration]bool{time.Hour: false, 23 * time.Hour: false, 25 * time.Hour: true, 73 * 365 * 24 * time.Hour: true} {
		c := Claims{Role: Agent, Name: "edge-1", Tenant: wire.DefaultTenant, First: time.Now().Add(ahead)}
		if _, dead := revoked.Now().Dead(c, "edge-1"); dead != want {
			t.Errorf("first issued in %v: dead %t", ahead, dead)
		}
		c.Name = "core-1"
		if _, dead := revoked.Now().Dead(c, "core-1"); dead {
			t.Error("it is dead by a revocation of another name")
		}
	}
}

// A pattern is matched with names, and never with the pattern of a token.
func TestATokenForMoreThanIsTakenBackIsGoodForTheRest(t *testing.T) {
	revoked := NewRevoked()
	revoked.SetStored(revoking(t, wire.RevokedAgent, wire.DefaultTenant, "edge-?", noon))
	c := Claims{Role: Agent, Name: "edge-*", Tenant: wire.DefaultTenant}
	for name, want := range map[string]bool{"edge-1": true, "edge-10": false} {
		if _, dead := revoked.Now().Dead(c, name); dead != want {
			t.Errorf("%s: %t", name, dead)
		}
	}
}

func TestTheFileAndTheStoreAddUp(t *testing.T) {
	stored := Claims{Role: Scraper, Name: "stored", Tenant: wire.DefaultTenant}
	listed := Claims{Role: Scraper, Name: "listed", Tenant: wire.DefaultTenant}
	id := Claims{Role: Scraper, Name: "p", Tenant: "blue", ID: "0123456789abcdef"}
	revoked := NewRevoked()
	revoked.SetStored(revoking(t, wire.RevokedScraper, wire.DefaultTenant, "stored", noon))
	revoked.SetListed(revoking(t, wire.RevokedScraper, wire.DefaultTenant, "listed", noon))
	for _, c := range []Claims{stored, listed} {
		if _, dead := revoked.Now().Dead(c, c.Name); !dead {
			t.Errorf("%s is good", c.Name)
		}
	}
	revoked.SetListed(revoking(t, wire.RevokedToken, "", id.ID, noon))
	for what, x := range map[string]struct {
		c    Claims
		dead bool
	}{"what the store has": {stored, true}, "what the file had": {listed, false}, "what the file has, of any tenant": {id, true}} {
		if _, dead := revoked.Now().Dead(x.c, x.c.Name); dead != x.dead {
			t.Errorf("%s: %t", what, dead)
		}
	}
}

func TestUntilTheStoreHasSaidItTheSettingDecides(t *testing.T) {
	c := Claims{Role: Scraper, Name: "p", Tenant: wire.DefaultTenant}
	if err := AwaitRevoked(false).Now().Check(c, c.Name); err != nil {
		t.Errorf("allowed: %v", err)
	}
	revoked := AwaitRevoked(true)
	revoked.SetListed(revoking(t, wire.RevokedScraper, wire.DefaultTenant, "other", noon)) // which says nothing of the rest
	if err := revoked.Now().Check(c, c.Name); !errors.Is(err, ErrRevokedUnknown) || revoked.Now().Known() {
		t.Errorf("refused: %v", err)
	}
	revoked.SetStored(nil)
	if err := revoked.Now().Check(c, c.Name); err != nil || !revoked.Now().Known() {
		t.Errorf("known: %v", err)
	}
}
