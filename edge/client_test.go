package edge

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// Of a balancer at 10.0.0.1, behind which there may be another at 10.0.0.2.
var clientCases = map[string]struct {
	peer string
	hops []string // X-Forwarded-For, a value a line
	want string
}{
	"nobody stands before us":             {"192.0.2.7:5", nil, "192.0.2.7:5"},
	"a stranger says who it is":           {"192.0.2.7:5", []string{"10.9.9.9"}, "192.0.2.7:5"},
	"the balancer says who it is":         {"10.0.0.1:5", []string{"192.0.2.7"}, "192.0.2.7"},
	"the client says so, too":             {"10.0.0.1:5", []string{"10.9.9.9, 192.0.2.7"}, "192.0.2.7"},
	"the client says so in its own line":  {"10.0.0.1:5", []string{"10.9.9.9", "192.0.2.7"}, "192.0.2.7"},
	"the client says it is the balancer":  {"10.0.0.1:5", []string{"10.0.0.1, 192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
	"two balancers":                       {"10.0.0.1:5", []string{"192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
	"with a port":                         {"10.0.0.1:5", []string{"192.0.2.7:4711"}, "192.0.2.7"},
	"IPv6":                                {"[::ffff:10.0.0.1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
	"IPv6 with a port":                    {"10.0.0.1:5", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
	"IPv4 as IPv6":                        {"10.0.0.1:5", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
	"no address":                          {"10.0.0.1:5", []string{"192.0.2.9, unknown"}, "10.0.0.1:5"},
	"no address behind the next balancer": {"10.0.0.1:5", []string{"192.0.2.9, unknown, 10.0.0.2"}, "10.0.0.2"},
	"the balancer itself":                 {"10.0.0.1:5", nil, "10.0.0.1:5"},
}

func TestWhoItIsBehindABalancer(t *testing.T) {
	e := New(Config{Scraper: &fake{}, NoAuth: true, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")}})
	for what, c := range clientCases {
		var got string
		agents := e.Agents(&AgentSide{Connect: func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }})
		r := httptest.NewRequest("GET", wire.ConnectPath, nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.hops
		agents.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want {
			t.Errorf("%s: agents come from %q, want %q", what, got, c.want)
		}
	}
}

func TestAScrapersTokenIsGoodInItsNetworksOnly(t *testing.T) {
	ring, err := token.ParseKeys([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	e := New(Config{Scraper: &fake{}, Keys: token.NewKeys(ring), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")}})
	bound := mint(t, ring, token.Claims{Role: token.Scraper, Name: "p", From: "192.0.2.0/28, 2001:db8::7"}, time.Now())
	for what, c := range map[string]struct {
		peer, hops string
		status     int
	}{
		"there":                          {"192.0.2.7:5", "", 200},
		"by IPv6":                        {"[2001:db8::7]:5", "", 200},
		"elsewhere":                      {"192.0.2.16:5", "", 403},
		"elsewhere, and says otherwise":  {"192.0.2.16:5", "192.0.2.7", 403},
		"there, behind a balancer":       {"10.0.0.1:5", "198.51.100.1, 192.0.2.7", 200},
		"elsewhere, behind a balancer":   {"10.0.0.1:5", "192.0.2.7, 198.51.100.1", 403},
		"of the balancer's own":          {"10.0.0.1:5", "", 403},
		"from what has no address":       {"@", "", 403},
		"by IPv6, in another's networks": {"[2001:db8::8]:5", "", 403},
	} {
		r := httptest.NewRequest("GET", "/sd", nil)
		r.RemoteAddr = c.peer
		r.Header.Set("Authorization", "Bearer "+bound)
		if c.hops != "" {
			r.Header.Set("X-Forwarded-For", c.hops)
		}
		w := httptest.NewRecorder()
		e.Handler().ServeHTTP(w, r)
		if w.Code != c.status || c.status == 403 && !strings.Contains(w.Body.String(), "FARSCRAPE_TRUSTED_PROXIES") {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
}

// Whoever shows a good credential never waits, and one that shows none is only told.
func TestBadCredentialsAreHeldByAddress(t *testing.T) {
	ring, err := token.ParseKeys([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	to := &fake{}
	e := New(Config{Scraper: to, Keys: token.NewKeys(ring), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}})
	good := mint(t, ring, token.Claims{Role: token.Scraper, Name: "p"}, time.Now())
	for _, path := range []string{"/sd", "/scrape/a/t", "/clients"} {
		for _, shown := range []string{"bad", good, ""} {
			r := httptest.NewRequest("GET", path, nil)
			r.RemoteAddr = "10.0.0.1:5"
			r.Header.Set("X-Forwarded-For", "192.0.2.7")
			if shown != "" {
				r.Header.Set("Authorization", "Bearer "+shown)
			}
			e.Handler().ServeHTTP(httptest.NewRecorder(), r)
		}
		if got := strings.Join(to.held, " "); got != "192.0.2.7" {
			t.Errorf("%s: held %q", path, got)
		}
		to.held = nil
	}
}

// Whatever a scraper shows in vain is counted once, by why.
func TestRefusedScrapersAreCountedByCause(t *testing.T) {
	ring, other := ringOf(t, testKey), ringOf(t, strings.Repeat("another key ", 3))
	now := time.Now()
	revoked := token.NewRevoked()
	revoked.SetStored(revoking("gone"))
	scraper := token.Claims{Role: token.Scraper, Name: "p"}
	ended, bound, gone := scraper, scraper, scraper
	ended.Expires, bound.From, gone.Name = now.Add(-time.Hour), "10.0.0.0/8", "gone"
	for cause, c := range map[string]struct {
		shown   string
		revoked *token.Revoked
	}{
		"":                {mint(t, ring, scraper, now), revoked},
		"not_shown":       {"", revoked},
		"not_ours":        {"bad", revoked},
		"other_key":       {mint(t, other, scraper, now), revoked},
		"expired":         {mint(t, ring, ended, now.Add(-2*time.Hour)), revoked},
		"role":            {mint(t, ring, token.Claims{Role: token.Agent, Name: "a"}, now), revoked},
		"network":         {mint(t, ring, bound, now), revoked},
		"revoked":         {mint(t, ring, gone, now), revoked},
		"revoked_unknown": {mint(t, ring, scraper, now), token.AwaitRevoked(true)},
	} {
		want := ""
		if cause != "" {
			want = "scraper " + cause
		}
		for _, url := range []string{"/sd", "/scrape/a/t", "http://a:1/metrics"} {
			to := &fake{}
			e := New(Config{Scraper: to, Keys: token.NewKeys(ring), Revoked: c.revoked})
			r := httptest.NewRequest("GET", url, nil)
			r.RemoteAddr = "192.0.2.7:5"
			r.Header.Set(wire.HeaderToken, c.shown)
			e.Handler().ServeHTTP(httptest.NewRecorder(), r)
			if got := strings.Join(to.refused, ", "); got != want {
				t.Errorf("%s: counted %q, want %q", url, got, want)
			}
		}
	}
}

func ringOf(t *testing.T, key string) *token.Keyring {
	t.Helper()
	ring, err := token.ParseKeys([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}
