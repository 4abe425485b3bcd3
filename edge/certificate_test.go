package edge

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/certname"
	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// newChecker takes prom-* and a scraper's SPIFFE IDs for scrapers.
func newChecker(t *testing.T) *certificate.Checker {
	t.Helper()
	c := &certificate.Checker{ScraperNames: []string{"prom-*"}, Lists: new(certificate.Lists)}
	var err error
	if c.Agents, err = certname.ParsePattern(certname.AgentPattern, "agent"); err != nil {
		t.Fatal(err)
	}
	if c.Scrapers, err = certname.ParsePattern("spiffe://*/tenant/{tenant}/scraper/{scraper}", "scraper"); err != nil {
		t.Fatal(err)
	}
	return c
}

// showing is a connection whose client has shown a certificate.
func showing(t *testing.T, ca *certtest.Authority, changes ...func(*x509.Certificate)) *tls.ConnectionState {
	t.Helper()
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{ca.Issue(t, changes...).Parse(t), ca.Parsed}}}
}

// ask has the edge answer a request over a connection that has shown a certificate.
func (b *bench) ask(url string, shown *tls.ConnectionState, header ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	if strings.HasPrefix(url, "http") {
		r.RequestURI = url
	}
	r.TLS = shown
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.edge.serve(w, r)
	return w.Result()
}

// Every way to be let in, with everything that a scraper may show, in both modes.
func TestWhichCredentialsScrape(t *testing.T) {
	ca, checker := certtest.NewAuthority(t, "ca"), newChecker(t)
	listed := showing(t, ca, certtest.DNS("prom-1"))
	set, err := certificate.ParseLists(ca.Revokes(t, listed.VerifiedChains[0][0]))
	if err != nil {
		t.Fatal(err)
	}
	checker.Lists.Set(set)
	type verdict struct {
		status       int
		tenant, name string // of whom it lets in
	}
	unauthorized, forbidden := verdict{status: 401}, verdict{status: 403}
	certificates := map[string]struct {
		shown *tls.ConnectionState
		verdict
	}{
		"none":                  {nil, unauthorized},
		"a listed DNS name":     {showing(t, ca, certtest.DNS("prom-1")), verdict{200, "default", "prom-1"}},
		"a SPIFFE ID":           {showing(t, ca, certtest.URI("spiffe://a/tenant/blue/scraper/prom-1")), verdict{200, "blue", "prom-1"}},
		"a DNS name":            {showing(t, ca, certtest.DNS("edge-1")), forbidden},
		"an agent's SPIFFE ID":  {showing(t, ca, certtest.URI("spiffe://a/tenant/default/agent/prom-1")), forbidden},
		"a strange SPIFFE ID":   {showing(t, ca, certtest.DNS("prom-1"), certtest.URI("spiffe://a/prom-1")), forbidden},
		"two listed names":      {showing(t, ca, certtest.DNS("prom-1", "prom-2")), forbidden},
		"ended":                 {showing(t, ca, certtest.DNS("prom-1"), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), unauthorized},
		"on its CA's list":      {listed, unauthorized},
		"shown, unverified":     {&tls.ConnectionState{PeerCertificates: listed.VerifiedChains[0]}, unauthorized},
		"another scraper's":     {showing(t, ca, certtest.DNS("prom-2")), verdict{200, "default", "prom-2"}},
		"another tenant's name": {showing(t, ca, certtest.URI("spiffe://a/tenant/red/scraper/prom-1")), verdict{200, "red", "prom-1"}},
	}
	for _, auth := range []certificate.Auth{"", certificate.Token, certificate.Certificate, certificate.Either, certificate.Both} {
		var ring *token.Keyring
		b := newBench(t, func(c *Config) { c.Auth, c.Certificates, ring = auth, checker, c.Keys.Current() })
		tokens := map[string]struct {
			text string
			verdict
		}{
			"none":         {"", unauthorized},
			"good":         {mint(t, ring, token.Claims{Role: token.Scraper, Name: "prom-1"}, time.Now()), verdict{200, "default", "prom-1"}},
			"for few":      {mint(t, ring, token.Claims{Role: token.Scraper, Name: "prom-1", Tenant: "blue", Agents: "edge-*"}, time.Now()), verdict{200, "blue", "prom-1"}},
			"an agent's":   {b.agent, forbidden},
			"ended":        {b.expired, unauthorized},
			"none of ours": {"x", unauthorized},
		}
		for of, t1 := range tokens {
			for what, c1 := range certificates {
				want := t1.verdict
				switch {
				case auth == certificate.Certificate, auth == certificate.Either && t1.text == "":
					want = c1.verdict
				case auth == certificate.Both && t1.status == 200:
					if want = c1.verdict; c1.status == 200 && c1.verdict != t1.verdict {
						want = forbidden
					}
				}
				for _, url := range []string{"/scrape/edge-1/node", "http://edge-1:9100/metrics"} {
					field, status := "Authorization", want.status
					if url[0] == 'h' {
						if field = "Proxy-Authorization"; status == 401 {
							status = 407
						}
					}
					b.seen = nil
					header := []string{field, "Bearer " + t1.text}
					if t1.text == "" {
						header = nil
					}
					resp := b.ask(url, c1.shown, header...)
					if resp.StatusCode != status || status == 200 && b.seen[0].Tenant != want.tenant {
						t.Errorf("%q, token %s, certificate %s: %s: %d %v, want %+v", auth, of, what, url, resp.StatusCode, b.seen, want)
					}
					// A certificate is for all agents of its tenant, beside a token for those of that.
					if byToken := auth != certificate.Certificate && (auth != certificate.Either || t1.text != ""); status == 200 && (b.seen[0].Allow != "") != (byToken && of == "for few") {
						t.Errorf("%q, token %s, certificate %s: for %q", auth, of, what, b.seen[0].Allow)
					}
				}
			}
		}
	}
}

// In proxy mode what stands in Authorization is the target's, also where it decides what
// the request is.
func TestATargetsOwnCredentialBesideACertificate(t *testing.T) {
	ca := certtest.NewAuthority(t, "ca")
	shown := showing(t, ca, certtest.DNS("prom-1"))
	for _, auth := range []certificate.Auth{certificate.Certificate, certificate.Either} {
		b := newBench(t, func(c *Config) { c.Auth, c.Certificates = auth, newChecker(t) })
		b.known = map[string]wire.Claim{"default edge-1": wire.BoundName}
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil) // as a front has made it
		r.Host, r.TLS = "edge-1:9100", shown
		r.Header.Set("Authorization", "Bearer the-targets")
		w := httptest.NewRecorder()
		b.edge.serve(w, r)
		if w.Code != 200 || len(b.seen) != 1 || !strings.Contains(strings.Join(wire.Values(b.seen[0].Header, "Authorization"), ""), "the-targets") {
			t.Errorf("%s: %d %s %v", auth, w.Code, w.Body, b.seen)
		}
	}
}

// A certificate is taken back as a token is, and what is said of it tells what to mend.
func TestWhatIsSaidOfAScrapersCertificate(t *testing.T) {
	ca, revoked := certtest.NewAuthority(t, "ca"), token.NewRevoked()
	b := newBench(t, func(c *Config) { c.Auth, c.Certificates, c.Revoked = certificate.Either, newChecker(t), revoked })
	good := showing(t, ca, certtest.DNS("prom-1"))
	if resp := b.ask("/sd", good); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	revoked.SetStored(revoking("prom-1"))
	for want, shown := range map[string]*tls.ConnectionState{
		"the client certificate has been taken back: another must be issued, by a CA in the relay's client_ca_file":                            good,
		"no client certificate came: show a token (farscrape-relay token -scraper NAME makes one), or set cert_file and key_file":              nil,
		"the client certificate is no scraper's: list its DNS name in FARSCRAPE_SCRAPER_DNS_NAMES, or give it a SPIFFE ID like FARSCRAPE_SCRA": showing(t, ca, certtest.DNS("edge-1")),
	} {
		resp := b.ask("/sd", shown)
		if text := bodyOf(resp); !strings.Contains(text, want) {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
}

func bodyOf(resp *http.Response) string {
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}
