package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// revoking takes back what the default tenant's scraper of that name was issued so far.
func revoking(scraper string) *wire.Revocations {
	subject := wire.RevokedSubject{Kind: wire.RevokedScraper, Tenant: wire.DefaultTenant, Name: scraper}
	return wire.NewRevocations([]wire.Revocation{{RevokedSubject: subject, Before: time.Now().Unix() + 1, Made: 1}})
}

// A scraper's token that is taken back is good for nothing any more, and whoever shows
// it reads so; what was issued later, and others', stays good.
func TestATokenThatIsTakenBackIsRefused(t *testing.T) {
	revoked := token.NewRevoked()
	var ring *token.Keyring
	b := newBench(t, func(c *Config) { c.Revoked, ring = revoked, c.Keys.Current() })
	b.get(t, "/scrape/edge-1/node").want(t, 200, "")
	revoked.SetStored(revoking("p"))
	for _, path := range []string{"/scrape/edge-1/node", "/sd", "/clients", "/api/v1/agents", "/api/v1/events", "/metrics/agents"} {
		o := b.get(t, path)
		o.want(t, 401, "unauthorized")
		if !strings.Contains(o.body, "token has been taken back: farscrape-relay token -scraper NAME makes one") {
			t.Errorf("%s: %s", path, o.body)
		}
	}
	b.send(t, "GET http://edge-1:9100/metrics HTTP/1.1\nHost: edge-1:9100\nProxy-Authorization: Bearer "+b.scraper+"\n\n").want(t, 407, "unauthorized")
	fresh := mint(t, ring, token.Claims{Role: token.Scraper, Name: "p"}, time.Now().Add(time.Second))
	for _, good := range []string{fresh, b.narrow} { // the other tenant's p is somebody else
		b.send(t, "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nAuthorization: Bearer "+good+"\n\n").want(t, 200, "")
	}
}

// What has been taken back may not be known yet: then no token is good, if that is how
// the relay is set, and it is not the token's fault.
func TestUntilItIsKnownWhatIsTakenBackTokensMayBeRefused(t *testing.T) {
	for refuse, want := range map[bool]string{false: "", true: "bus_unavailable"} {
		revoked := token.AwaitRevoked(refuse)
		b := newBench(t, func(c *Config) { c.Revoked = revoked })
		if o := b.get(t, "/scrape/edge-1/node"); o.reason() != want || want != "" && (o.StatusCode != 503 || !strings.Contains(o.body, "FARSCRAPE_REVOKED_UNKNOWN=refuse")) {
			t.Errorf("refuse %t: %d %s", refuse, o.StatusCode, o.body)
		}
		revoked.SetStored(nil)
		b.get(t, "/scrape/edge-1/node").want(t, 200, "")
	}
}
