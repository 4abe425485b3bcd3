package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	keyA = "a-key-of-the-tests-that-is-long-enough"
	keyB = "another-key-of-the-tests-that-is-long-enough"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func ring(t testing.TB, keys ...string) *Keyring {
	t.Helper()
	k, err := ParseKeys([]byte(strings.Join(keys, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign signs any claims and header with keyA, as someone who has the key could.
func sign(t testing.TB, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	tok := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	tok.Header["kid"] = keyID([]byte(keyA))
	for name, value := range header {
		tok.Header[name] = value
	}
	s, err := tok.SignedString([]byte(keyA))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMintedVerifies(t *testing.T) {
	k := ring(t, keyA, keyB)
	for _, c := range []Claims{
		{Role: Agent, Name: "edge-1.example.com"},
		{Role: Agent, Name: "edge-*", Tenant: "blue"},
		{Role: Scraper, Name: "prometheus", Expires: noon.Add(time.Hour)},
		{Role: Scraper, Name: "Team_A", Agents: "edge-*", Tenant: "blue"},
		{Role: Agent, Name: "renewed", First: noon.Add(-time.Hour)},
	} {
		tok, minted, err := k.Mint(c, noon)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from the cache
			got, err := k.Verify(tok, noon)
			if err != nil || got != minted {
				t.Errorf("Verify = %+v, %v; want %+v", got, err, minted)
			}
		}
		c.ID, c.Key, c.Issued = minted.ID, keyID([]byte(keyA)), noon
		if c.First.IsZero() {
			c.First = noon
		}
		if c.Tenant == "" {
			c.Tenant = wire.DefaultTenant
		}
		if minted != c {
			t.Errorf("Mint says %+v, want %+v", minted, c)
		}
		if len(tok) > 700 {
			t.Errorf("a token of %d bytes", len(tok))
		}
	}
}

func TestMintFoldsCase(t *testing.T) {
	k := ring(t, keyA)
	for _, c := range []Claims{
		{Role: Agent, Name: "Edge-1"},
		{Role: Agent, Name: "EDGE-*"},
		{Role: Scraper, Name: "p", Agents: "Edge-?"},
	} {
		_, minted, err := k.Mint(c, noon)
		if err != nil {
			t.Fatal(err)
		}
		if !minted.AllowsAgent("edge-1") {
			t.Errorf("%+v does not allow edge-1", minted)
		}
	}
}

func TestMintRefuses(t *testing.T) {
	k := ring(t, keyA)
	for _, c := range []Claims{
		{},
		{Role: "admin", Name: "x"},
		{Role: Agent},
		{Role: Agent, Name: "10.0.0.1"},
		{Role: Agent, Name: "a b"},
		{Role: Agent, Name: "edge-["},
		{Role: Agent, Name: strings.Repeat("*", 254)},
		{Role: Agent, Name: "edge-1", Agents: "edge-*"},
		{Role: Agent, Name: "edge-1", Tenant: "../x"},
		{Role: Scraper},
		{Role: Scraper, Name: "p\n"},
		{Role: Scraper, Name: "p", Agents: "[a"},
		{Role: Scraper, Name: "p", Expires: noon},
		{Role: Scraper, Name: "p", Expires: noon.Add(-time.Hour)},
	} {
		if _, _, err := k.Mint(c, noon); err == nil {
			t.Errorf("minted %+v", c)
		}
	}
}

func TestVerifyExpiry(t *testing.T) {
	k := ring(t, keyA)
	tok, _, err := k.Mint(Claims{Role: Scraper, Name: "p", Expires: noon.Add(time.Minute)}, noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Verify(tok, noon.Add(59*time.Second)); err != nil {
		t.Errorf("a second before: %v", err)
	}
	if _, err := k.Verify(tok, noon.Add(time.Minute)); !errors.Is(err, ErrExpired) {
		t.Errorf("at that time, remembered: %v", err)
	}
	if _, err := ring(t, keyA).Verify(tok, noon.Add(time.Minute)); !errors.Is(err, ErrExpired) {
		t.Errorf("at that time, never seen: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"aud": "farscrape", "role": "scraper", "sub": "p"}
	}
	with := func(name string, value any) jwt.MapClaims {
		c := good()
		c[name] = value
		return c
	}
	without := func(name string) jwt.MapClaims {
		c := good()
		delete(c, name)
		return c
	}
	k := ring(t, keyA)
	if _, err := k.Verify(sign(t, nil, good()), noon); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	foreign, _, err := ring(t, keyB).Mint(Claims{Role: Scraper, Name: "p"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	whole := sign(t, nil, good())
	parts := strings.Split(whole, ".")
	none := func(alg string) string {
		header := fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, keyID([]byte(keyA)))
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + "."
	}
	other := jwt.NewWithClaims(jwt.SigningMethodHS512, good())
	other.Header["kid"] = keyID([]byte(keyA))
	hs512, err := other.SignedString([]byte(keyA))
	if err != nil {
		t.Fatal(err)
	}
	for name, tok := range map[string]string{
		"empty":             "",
		"garbage":           "garbage",
		"dots":              "..",
		"no signature":      parts[0] + "." + parts[1] + ".",
		"other claims":      parts[0] + "." + strings.Split(sign(t, nil, with("sub", "q")), ".")[1] + "." + parts[2],
		"alg none":          none("none"),
		"alg None":          none("None"),
		"alg RS256":         none("RS256"),
		"HS512":             hs512,
		"another key":       foreign,
		"no kid":            sign(t, map[string]any{"kid": nil}, good()),
		"kid of no key":     sign(t, map[string]any{"kid": "00000000"}, good()),
		"kid a number":      sign(t, map[string]any{"kid": 1}, good()),
		"crit":              sign(t, map[string]any{"crit": []string{"exp"}}, good()),
		"no aud":            sign(t, nil, without("aud")),
		"another aud":       sign(t, nil, with("aud", "vault")),
		"two auds":          sign(t, nil, with("aud", []string{"farscrape", "vault"})),
		"no role":           sign(t, nil, without("role")),
		"another role":      sign(t, nil, with("role", "admin")),
		"no sub":            sign(t, nil, without("sub")),
		"a bad tenant":      sign(t, nil, with("tenant", "a/b")),
		"a bad pattern":     sign(t, nil, with("agents", "[")),
		"exp a string":      sign(t, nil, with("exp", "tomorrow")),
		"not before later":  sign(t, nil, with("nbf", noon.Add(time.Hour).Unix())),
		"too long":          sign(t, nil, with("x", strings.Repeat("x", maxSize))),
		"space around":      " " + whole,
		"a trailing byte":   whole + "=",
		"a loose last bits": whole[:len(whole)-1] + string(whole[len(whole)-1]^1),
	} {
		if c, err := k.Verify(tok, noon); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrExpired) || c != (Claims{}) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	// Wrong in two ways: that it has expired is told to holders only.
	if _, err := k.Verify(sign(t, nil, jwt.MapClaims{"aud": "vault", "exp": 1}), noon); errors.Is(err, ErrExpired) {
		t.Errorf("another audience's: %v", err)
	}
}

func TestAllowsAgent(t *testing.T) {
	for _, test := range []struct {
		claims Claims
		name   string
		want   bool
	}{
		{Claims{Role: Agent, Name: "edge-1"}, "edge-1", true},
		{Claims{Role: Agent, Name: "edge-1"}, "edge-2", false},
		{Claims{Role: Agent, Name: "edge-*"}, "edge-2", true},
		{Claims{Role: Agent, Name: "edge-*"}, "core-2", false},
		{Claims{Role: Scraper, Name: "p"}, "edge-1", true},
		{Claims{Role: Scraper, Name: "p", Agents: "*.berlin"}, "a.b.berlin", true},
		{Claims{Role: Scraper, Name: "p", Agents: "*.berlin"}, "a.paris", false},
		{Claims{}, "edge-1", false},
	} {
		if got := test.claims.AllowsAgent(test.name); got != test.want {
			t.Errorf("%+v allows %s: %v", test.claims, test.name, got)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	k := ring(t, keyA)
	for range 2 * cacheSize {
		tok, _, err := k.Mint(Claims{Role: Scraper, Name: "p"}, noon)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Verify(tok, noon); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.verified.claims); n != cacheSize {
		t.Errorf("%d tokens remembered, want %d", n, cacheSize)
	}
}

// FuzzVerify signs whatever claims the fuzzer makes up, and also tries them as
// a whole token: neither may panic, and what passes must keep the rules.
func FuzzVerify(f *testing.F) {
	k := ring(f, keyA)
	f.Add(`{"aud":"farscrape","role":"scraper","sub":"p"}`)
	f.Add(`{"aud":["farscrape"],"role":"agent","sub":"edge-*","exp":1e300,"tenant":"blue"}`)
	f.Add(`{"aud":"farscrape","role":"scraper","sub":"p","agents":"[","exp":-1}`)
	f.Add(sign(f, nil, jwt.MapClaims{"aud": "farscrape", "role": "scraper", "sub": "p"}))
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"` + keyID([]byte(keyA)) + `"}`))
	f.Fuzz(func(t *testing.T, s string) {
		text := header + "." + base64.RawURLEncoding.EncodeToString([]byte(s))
		sig, err := jwt.SigningMethodHS256.Sign(text, []byte(keyA))
		if err != nil {
			t.Fatal(err)
		}
		signed := text + "." + base64.RawURLEncoding.EncodeToString(sig)
		for _, tok := range []string{s, signed} {
			c, err := k.Verify(tok, noon)
			switch {
			case err == nil:
				if c.check() != nil || !c.Expires.IsZero() && !noon.Before(c.Expires) {
					t.Errorf("took %+v", c)
				}
			case !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrExpired):
				t.Errorf("untyped: %v", err)
			case errors.Is(err, ErrExpired):
				if c.check() != nil || noon.Before(c.Expires) {
					t.Errorf("expired, and says %+v", c)
				}
			case c != (Claims{}):
				t.Errorf("refused, yet says %+v", c)
			}
		}
	})
}

// go test -run - -bench Verify ./relay/token
func BenchmarkVerify(b *testing.B) {
	k := ring(b, keyA)
	tok, _, err := k.Mint(Claims{Role: Scraper, Name: "prometheus", Expires: noon.Add(time.Hour)}, noon)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.parse(tok, noon); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.Verify(tok, noon); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Of a token that is not taken, the log has its IDs and nothing else.
func TestUncheckedTellsIDsOnly(t *testing.T) {
	minted, c, err := ring(t, keyB).Mint(Claims{Role: Agent, Name: "edge-1"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	const id = "0123456789abcdef"
	for what, x := range map[string]struct{ token, id, key string }{
		"another key's":     {minted, c.ID, keyID([]byte(keyB))},
		"no signature":      {minted[:strings.LastIndexByte(minted, '.')+1], c.ID, keyID([]byte(keyB))},
		"garbage":           {"garbage", "", ""},
		"an ID of any kind": {sign(t, map[string]any{"kid": strings.Repeat("k", 8)}, jwt.MapClaims{"jti": "s3cret"}), "", ""},
		"a number as kid":   {sign(t, map[string]any{"kid": 7}, jwt.MapClaims{"jti": id}), id, ""},
		"any length":        {sign(t, nil, jwt.MapClaims{"jti": id, "x": strings.Repeat("x", maxSize)}), "", ""},
	} {
		if id, key := Unchecked(x.token); id != x.id || key != x.key {
			t.Errorf("%s: %q, %q", what, id, key)
		}
	}
}

// Every error that a token is refused by is a cause of its own, and nothing else is one.
func TestErrorsAreCauses(t *testing.T) {
	seen := make(map[Cause]bool)
	for _, err := range []error{
		ErrNotShown, ErrInvalid, fmt.Errorf("%w: %w", ErrInvalid, ErrOtherKey), fmt.Errorf("%w: %w", ErrInvalid, ErrNotYet),
		fmt.Errorf("%w at noon", ErrExpired), ErrRole, ErrNetwork, ErrName, ErrRevoked, ErrRevokedUnknown,
	} {
		cause := CauseOf(err)
		if seen[cause] || !slices.Contains(Causes(), cause) {
			t.Errorf("%v: %q", err, cause)
		}
		seen[cause] = true
	}
	if len(seen) != len(Causes()) {
		t.Errorf("%d causes of %d", len(seen), len(Causes()))
	}
	for _, err := range []error{nil, errors.New("another")} {
		if cause := CauseOf(err); cause != None {
			t.Errorf("%v: %q", err, cause)
		}
	}
}
