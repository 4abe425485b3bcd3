package certificate_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/certname"
	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/token"
)

// shownBy is a connection whose client has shown a certificate that the authorities stand
// for.
func shownBy(t testing.TB, p *certtest.Pair, roots ...*certtest.Authority) *tls.ConnectionState {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, r := range roots {
		options.Roots.AddCert(r.Parsed)
	}
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		options.Intermediates.AddCert(c)
	}
	chains, err := pair.Leaf.Verify(options)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.ConnectionState{VerifiedChains: chains}
}

func pattern(t testing.TB, text, holder string) *certname.Pattern {
	t.Helper()
	p, err := certname.ParsePattern(text, holder)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newChecker(t testing.TB) *certificate.Checker {
	return &certificate.Checker{
		Agents: pattern(t, certname.AgentPattern, "agent"), Scrapers: pattern(t, "spiffe://*/tenant/{tenant}/scraper/{scraper}", "scraper"),
		ScraperNames: []string{"prom-*.example.com"}, Lists: new(certificate.Lists),
	}
}

// What a certificate says is what a token would.
func TestACertificateHasClaims(t *testing.T) {
	ca := certtest.NewAuthority(t, "ca")
	p := ca.Issue(t, certtest.URI("spiffe://example.org/tenant/blue/agent/edge-1"))
	leaf := p.Parse(t)
	got, err := newChecker(t).Agent(shownBy(t, p, ca), "edge-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.ID) != 16 || strings.Trim(got.ID, "0123456789abcdef") != "" {
		t.Errorf("ID %q", got.ID)
	}
	want := token.Claims{ID: got.ID, Role: token.Agent, Name: "edge-1", Tenant: "blue", Key: "certificate", Issued: leaf.NotBefore, First: leaf.NotBefore, Expires: leaf.NotAfter}
	if got.Claims != want {
		t.Errorf("%+v\nwant %+v", got.Claims, want)
	}
}

// Whoever is an agent by a certificate is no scraper by it, and the other way round.
func TestOneCertificateHasOneRole(t *testing.T) {
	ca, checker := certtest.NewAuthority(t, "ca"), newChecker(t)
	both := *checker
	both.Scrapers = pattern(t, "spiffe://*/tenant/{tenant}/*/{scraper}", "scraper")
	unlisted := &certificate.Checker{Agents: checker.Agents}
	for _, c := range []struct {
		what           string
		by             *certificate.Checker
		san            func(*x509.Certificate)
		agent, scraper string // the name, or what the error says
	}{
		{"a DNS name", checker, certtest.DNS("edge-1"), "edge-1", "is no scraper's: list its DNS name in FARSCRAPE_SCRAPER_DNS_NAMES"},
		{"a scraper's DNS name", checker, certtest.DNS("Prom-1.example.com"), "is a scraper's: its DNS name is in FARSCRAPE_SCRAPER_DNS_NAMES", "prom-1.example.com"},
		{"a scraper's among others", checker, certtest.DNS("edge-1", "prom-1.example.com"), "is a scraper's", "prom-1.example.com"},
		{"two scrapers'", checker, certtest.DNS("prom-1.example.com", "prom-2.example.com"), "is a scraper's", "has 2 DNS names that are in FARSCRAPE_SCRAPER_DNS_NAMES"},
		{"a scraper's, too long for one", checker, certtest.DNS("prom-" + strings.Repeat("x.", 30) + "example.com"), "is a scraper's", "scraper name"},
		{"an agent's SPIFFE ID", checker, certtest.URI("spiffe://a/tenant/blue/agent/edge-1"), "edge-1", "is not like FARSCRAPE_SCRAPER_SPIFFE"},
		{"a scraper's SPIFFE ID", checker, certtest.URI("spiffe://a/tenant/blue/scraper/prom"), "is not like spiffe://*/tenant/{tenant}/agent/{agent}", "prom"},
		{"a SPIFFE ID that both patterns mean", &both, certtest.URI("spiffe://a/tenant/blue/agent/edge-1"), "both mean", "both mean"},
		{"a SPIFFE ID, where no scraper has one", unlisted, certtest.URI("spiffe://a/tenant/blue/agent/edge-1"), "edge-1", "set FARSCRAPE_SCRAPER_SPIFFE"},
		{"a DNS name, where none is a scraper's", unlisted, certtest.DNS("prom-1.example.com"), "prom-1.example.com", "is no scraper's"},
		{"no name", checker, func(*x509.Certificate) {}, "names nobody", "is no scraper's"},
	} {
		state := shownBy(t, ca.Issue(t, c.san), ca)
		asked := ""
		if !strings.Contains(c.agent, " ") {
			asked = c.agent
		}
		for _, is := range []struct {
			role, want string
			shown      func() (*certificate.Credential, error)
		}{
			{"agent", c.agent, func() (*certificate.Credential, error) { return c.by.Agent(state, asked, time.Now()) }},
			{"scraper", c.scraper, func() (*certificate.Credential, error) { return c.by.Scraper(state, time.Now()) }},
		} {
			got, err := is.shown()
			if refused := strings.Contains(is.want, " "); refused != (err != nil) || !refused && (got.Name != is.want || string(got.Role) != is.role) ||
				refused && (!strings.Contains(err.Error(), is.want) || certificate.AnotherWouldDo(err) || got.Role != "" || len(got.ID) != 16) {
				t.Errorf("%s, as %s: %+v, %v", c.what, is.role, got.Claims, err)
			}
		}
	}
}

func TestACertificateThatDoesNotCount(t *testing.T) {
	ca, checker := certtest.NewAuthority(t, "ca"), newChecker(t)
	good := shownBy(t, ca.Issue(t, certtest.DNS("edge-1")), ca)
	unverified := &tls.ConnectionState{PeerCertificates: good.VerifiedChains[0]}
	for what, state := range map[string]*tls.ConnectionState{"no TLS": nil, "none": {}, "not verified": unverified} {
		if _, err := checker.Agent(state, "edge-1", time.Now()); !errors.Is(err, certificate.ErrMissing) || !certificate.AnotherWouldDo(err) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := checker.Scraper(state, time.Now()); !errors.Is(err, certificate.ErrMissing) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A connection lives on when its certificate has ended.
	got, err := checker.Agent(good, "edge-1", time.Now().Add(2*time.Hour))
	if !errors.Is(err, certificate.ErrEnded) || !certificate.AnotherWouldDo(err) || got.Name != "edge-1" {
		t.Errorf("%+v, %v", got, err)
	}
}

// It ends with the first of its chain, and with the last of its chains.
func TestTheChainThatLastsCounts(t *testing.T) {
	old, next := certtest.NewAuthority(t, "ca"), certtest.NewAuthority(t, "ca")
	p := old.Issue(t, certtest.DNS("edge-1"))
	leaf, in := p.Parse(t), func(d time.Duration) *x509.Certificate {
		c := *old.Parsed
		c.NotAfter = time.Now().Add(d)
		return &c
	}
	short, long := in(time.Minute), in(30*time.Minute)
	state := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf, short}, {leaf, long}, {leaf, short, next.Parsed}}}
	got, err := newChecker(t).Agent(state, "edge-1", time.Now())
	if err != nil || !got.Expires.Equal(long.NotAfter) {
		t.Errorf("ends at %s, %v", got.Expires, err)
	}
}

// A CA that is no longer among a listener's stands for nobody, however it was when the
// connection came.
func TestACAThatHasGone(t *testing.T) {
	gone, stays, checker := certtest.NewAuthority(t, "gone"), certtest.NewAuthority(t, "stays"), newChecker(t)
	checker.CAs = func() certificate.CAs { return only{stays.Parsed} }
	leaf := gone.Issue(t, certtest.DNS("edge-1")).Parse(t)
	for what, c := range map[string]struct {
		chains [][]*x509.Certificate
		want   error
	}{
		"by it alone":         {[][]*x509.Certificate{{leaf, gone.Parsed}}, certificate.ErrOrphaned},
		"by the other, too":   {[][]*x509.Certificate{{leaf, gone.Parsed}, {leaf, gone.Parsed, stays.Parsed}}, nil},
		"by the other, first": {[][]*x509.Certificate{{leaf, gone.Parsed, stays.Parsed}, {leaf, gone.Parsed}}, nil},
	} {
		_, err := checker.Agent(&tls.ConnectionState{VerifiedChains: c.chains}, "edge-1", time.Now())
		if !errors.Is(err, c.want) || err != nil && !certificate.AnotherWouldDo(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// only is one CA.
type only struct{ ca *x509.Certificate }

func (o only) Have(ca *x509.Certificate) bool { return ca == o.ca }

// Nobody is told of the ends of certificates that machines renew.
func TestWhichEndsAreTold(t *testing.T) {
	ca := certtest.NewAuthority(t, "ca")
	for life, told := range map[time.Duration]bool{time.Hour: false, 30 * 24 * time.Hour: false, 40 * 24 * time.Hour: true} {
		got, err := newChecker(t).Agent(shownBy(t, ca.Issue(t, certtest.DNS("edge-1"), certtest.Lasting(life)), ca), "edge-1", time.Now())
		if err != nil || got.ToldExpiry().IsZero() == told {
			t.Errorf("%s: %s, %v", life, got.ToldExpiry(), err)
		}
	}
}

// Refusals are counted by the causes that tokens' are.
func TestCausesOfRefusals(t *testing.T) {
	ca, checker := certtest.NewAuthority(t, "ca"), newChecker(t)
	_, misnamed := checker.Agent(shownBy(t, ca.Issue(t, certtest.DNS("edge-1")), ca), "edge-2", time.Now())
	_, noScrapers := checker.Scraper(shownBy(t, ca.Issue(t, certtest.DNS("edge-1")), ca), time.Now())
	for want, all := range map[token.Cause][]error{
		"not_shown": {certificate.ErrMissing}, "expired": {certificate.ErrEnded}, "revoked": {certificate.ErrListed}, "other_key": {certificate.ErrOrphaned}, "name": {misnamed, noScrapers},
	} {
		for _, err := range all {
			if got := token.CauseOf(err); got != want {
				t.Errorf("%v: %q, want %q", err, got, want)
			}
		}
	}
}

// What a scrape costs more by a certificate: it is judged with each.
func BenchmarkScraper(b *testing.B) {
	root := certtest.NewAuthority(b, "root")
	sub, checker := root.Under(b, "sub"), newChecker(b)
	state := shownBy(b, sub.Issue(b, certtest.DNS("prom-1.example.com")), root)
	checker.Lists.Set(lists(b, certtest.ListPEM(root.Revokes(b)), certtest.ListPEM(sub.Revokes(b))))
	checker.CAs = func() certificate.CAs { return only{root.Parsed} }
	for b.Loop() {
		if _, err := checker.Scraper(state, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
