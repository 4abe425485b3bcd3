package token

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestParseRevoked(t *testing.T) {
	set, err := ParseRevoked([]byte("# stolen on Friday\r\n\n0123456789ABCDEF\r\n  agent:Edge-*  before=2026-11-20T12:00:00.5+00:00 tenant=blue\n" +
		"agent:core before=2026-11-20T12:00:00Z\nagent:core before=2026-11-20T13:00:00+02:00\nscraper:Team_A"))
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.Revocation{
		{RevokedSubject: wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: "blue", Name: "edge-*"}, Before: noon.Unix() + 1, Made: listed},
		{RevokedSubject: wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: "default", Name: "core"}, Before: noon.Unix(), Made: listed},
		{RevokedSubject: wire.RevokedSubject{Kind: wire.RevokedScraper, Tenant: "default", Name: "Team_A"}, Before: wire.MaxBefore, Made: listed},
		{RevokedSubject: wire.RevokedSubject{Kind: wire.RevokedToken, Name: "0123456789abcdef"}, Before: wire.MaxBefore, Made: listed},
	}
	if got := set.All(); !slices.Equal(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	for _, r := range want {
		if again, is, err := ParseRevokedLine(RevokedLine(r)); err != nil || !is || again != r {
			t.Errorf("%s is read as %+v, %v", RevokedLine(r), again, err)
		}
	}
}

func TestParseRevokedNamesTheLineAndTellsNoSecret(t *testing.T) {
	signed, _, err := ring(t, keyA).Mint(Claims{Role: Scraper, Name: "p"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	var many strings.Builder
	for i := range wire.MaxRevokedPatterns + 1 {
		fmt.Fprintf(&many, "agent:a%d-*\n", i)
	}
	for line, want := range map[string]string{
		signed:                                "line 2: it must begin with a token's ID (16 digits of 0-9 a-f, not the token)",
		"token:0123456789abcdef":              "line 2: it must begin with",
		"agents:x":                            "line 2: it must begin with",
		"agent:" + signed:                     "line 2: no agent can have that name",
		"agent:":                              "line 2: no agent can have that name",
		"agent:edge-[":                        "line 2: no agent can have that name",
		"scraper:edge-*":                      "line 2: no scraper can have that name",
		"agent:x before=" + signed:            "line 2: before must be a time such as 2026-11-22T12:00:00Z",
		"agent:x before=":                     "line 2: before must be",
		"agent:x before=1960-01-01T00:00:00Z": "line 2: before must be",
		"agent:x tenant=" + signed:            "line 2: tenant=",
		"0123456789abcdef tenant=blue":        "line 2: behind the first word",
		"agent:x " + signed:                   "line 2: behind the first word",
		many.String():                         "1001 revocations: there may be 10000, and 1000 of patterns",
	} {
		set, err := ParseRevoked([]byte("# ours\n" + line))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), signed[10:]) {
			t.Errorf("%.40q: %d, %v; want %s", line, set.Len(), err, want)
		}
	}
}

func FuzzParseRevoked(f *testing.F) {
	f.Add("agent:edge-* before=2026-11-20T12:00:00Z tenant=blue")
	f.Add("0123456789abcdef\nscraper:p")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := ParseRevoked([]byte(text))
		if err != nil {
			return
		}
		var again strings.Builder
		for _, r := range set.All() {
			again.WriteString(RevokedLine(r) + "\n")
		}
		same, err := ParseRevoked([]byte(again.String()))
		if err != nil || !slices.Equal(same.All(), set.All()) {
			t.Errorf("%q is written as %q: %v", text, &again, err)
		}
	})
}
