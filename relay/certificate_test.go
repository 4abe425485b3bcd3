package relay_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/certname"
	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// clients are a CA, and what a replica makes of certificates that it stands for.
type clients struct {
	*certtest.Authority
	t       testing.TB
	checker *certificate.Checker
}

func newClients(t testing.TB) *clients {
	t.Helper()
	agents, err := certname.ParsePattern(certname.AgentPattern, "agent")
	if err != nil {
		t.Fatal(err)
	}
	return &clients{certtest.NewAuthority(t, "clients"), t, &certificate.Checker{Agents: agents, ScraperNames: []string{"prom-*"}, Lists: new(certificate.Lists)}}
}

// take has a replica take what auth says.
func (c *clients) take(auth certificate.Auth) func(*relay.Config) {
	return func(conf *relay.Config) { conf.AgentAuth, conf.Certificates = auth, c.checker }
}

// issue makes a certificate, and a connection that shows it.
func (c *clients) issue(changes ...func(*x509.Certificate)) (*x509.Certificate, *tls.ConnectionState) {
	c.t.Helper()
	leaf := c.Issue(c.t, changes...).Parse(c.t)
	return leaf, &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf, c.Parsed}}}
}

// revokes puts a list of certificates in force.
func (c *clients) revokes(certificates ...*x509.Certificate) {
	c.t.Helper()
	set, err := certificate.ParseLists(c.Revokes(c.t, certificates...))
	if err != nil {
		c.t.Fatal(err)
	}
	c.checker.Lists.Set(set)
}

// links opens a link by a certificate alone.
func (r *replica) links(name string, shown *tls.ConnectionState) *agent {
	return r.dial(dialOptions{name: name, tokenless: true, certificate: shown})
}

// A verdict is what comes of a credential: the status of its refusal, or its tenant.
type verdict struct {
	status int
	tenant string
}

// Every way to be let in, with everything that an agent may show.
func TestWhichCredentialsOpenALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newClients(t)
		of := func(changes ...func(*x509.Certificate)) *tls.ConnectionState { _, s := ca.issue(changes...); return s }
		listed, listedShown := ca.issue(certtest.DNS("edge"))
		ca.revokes(listed)
		ok, unauthorized, forbidden := verdict{tenant: "default"}, verdict{status: 401}, verdict{status: 403}
		certificates := map[string]struct {
			shown *tls.ConnectionState
			verdict
		}{
			"none":                    {nil, unauthorized},
			"its DNS name":            {of(certtest.DNS("edge")), ok},
			"one of its DNS names":    {of(certtest.DNS("other", "edge")), ok},
			"its SPIFFE ID":           {of(certtest.URI("spiffe://a/tenant/default/agent/edge")), ok},
			"another tenant's":        {of(certtest.URI("spiffe://a/tenant/blue/agent/edge")), verdict{tenant: "blue"}},
			"another's":               {of(certtest.DNS("other")), forbidden},
			"no name":                 {of(), forbidden},
			"a wildcard":              {of(certtest.DNS("*")), forbidden},
			"a strange SPIFFE ID":     {of(certtest.DNS("edge"), certtest.URI("spiffe://a/edge")), forbidden},
			"a scraper's SPIFFE ID":   {of(certtest.URI("spiffe://a/tenant/default/scraper/edge")), forbidden},
			"a scraper's too":         {of(certtest.DNS("edge", "prom-1")), forbidden},
			"ended":                   {of(certtest.DNS("edge"), func(c *x509.Certificate) { c.NotAfter = time.Now() }), unauthorized},
			"on the list":             {listedShown, unauthorized},
			"shown, but not verified": {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{listed}}, unauthorized},
		}
		for _, auth := range []certificate.Auth{"", certificate.Token, certificate.Certificate, certificate.Either, certificate.Both} {
			c := newCluster(t, 1, ca.take(auth))
			r := c.replicas[0]
			tokens := map[string]struct {
				text string
				verdict
			}{
				"none":             {"", unauthorized},
				"good":             {r.mint(token.Agent, "edge"), ok},
				"a pattern's":      {r.mint(token.Agent, "e*"), ok},
				"another tenant's": {r.mintIn("blue", token.Agent, "edge"), verdict{tenant: "blue"}},
				"another's":        {r.mint(token.Agent, "other"), forbidden},
				"a scraper's":      {r.mint(token.Scraper, "edge"), forbidden},
				"none of ours":     {"x", unauthorized},
			}
			for of, t1 := range tokens {
				for what, c1 := range certificates {
					want := t1.verdict
					switch {
					case auth == certificate.Certificate, auth == certificate.Either && t1.text == "":
						want = c1.verdict
					case auth == certificate.Both && t1.status == 0:
						if want = c1.verdict; c1.status == 0 && c1.tenant != t1.tenant {
							want = forbidden
						}
					}
					// Of two faults either may be told.
					either := auth == certificate.Both && t1.status != 0 && c1.status != 0
					a, resp, err := r.tryDial(dialOptions{tokenless: t1.text == "", token: t1.text, certificate: c1.shown, targets: []wire.Target{}})
					var got verdict
					if err == nil {
						got = verdict{tenant: tenantOf(c)}
						_ = a.conn.CloseNow()
						<-a.closed
						synctest.Wait()
						time.Sleep(time.Second) // another arrives
					} else if resp != nil {
						got.status = resp.StatusCode
					}
					if got != want && !(either && got == c1.verdict) {
						t.Errorf("%q, token %s, certificate %s: %+v, want %+v", auth, of, what, got, want)
					}
				}
			}
		}
	})
}

// tenantOf is the tenant of the only agent that is linked.
func tenantOf(c *cluster) string {
	synctest.Wait()
	for _, tenant := range []string{wire.DefaultTenant, "blue"} {
		if l, err := c.replicas[0].Listing(c.t.Context(), tenant); err == nil {
			for _, a := range l.Agents {
				if len(a.Links) > 0 {
					return tenant
				}
			}
		}
	}
	return "none"
}

// A refusal says what to mend, and quotes nothing that is no name.
func TestARefusedCertificateIsToldWhatToMend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newClients(t)
		r := newCluster(t, 1, ca.take(certificate.Either)).replicas[0]
		_, edge := ca.issue(certtest.DNS("edge-1"))
		for _, c := range []struct {
			name  string
			shown *tls.ConnectionState
			want  string
		}{
			{"edge-1", nil, "no client certificate came: set FARSCRAPE_TOKEN_FILE, or set FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE to one of the relay's client CA, and let no front end TLS"},
			{"edge-2", edge, `the client certificate is for "edge-1", and does not allow the name "edge-2"`},
		} {
			_, resp, err := r.tryDial(dialOptions{name: c.name, tokenless: true, certificate: c.shown})
			if err == nil || resp.Header.Get(wire.HeaderError) == "" {
				t.Fatalf("%v %v", resp, err)
			}
			if text := body(resp); text != c.want {
				t.Errorf("%s", text)
			}
		}
	})
}

// A link is moved while its certificate has a third left, again and again while that is
// worth it, and closed when the certificate ends.
func TestALinkEndsWithItsCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newClients(t)
		r := newCluster(t, 1, ca.take(certificate.Certificate), func(c *relay.Config) { c.LinkMaxAge = 50 * time.Minute }).replicas[0]
		leaf, shown := ca.issue(certtest.DNS("edge"), certtest.Lasting(time.Hour))
		shared := dialOptions{tokenless: true, certificate: shown, shared: true}
		first := r.dial(shared)
		start := time.Now()
		first.wantDrain("certificate_ends", 41*time.Minute)
		if took := time.Since(start); took < 34*time.Minute {
			t.Errorf("moved after %s of an hour", took)
		}
		all := []*agent{first}
		for left := time.Until(leaf.NotAfter); left > 31*time.Second; left = time.Until(leaf.NotAfter) {
			next := r.dial(shared) // whose file was not renewed
			next.wantDrain("certificate_ends", left*7/10)
			all = append(all, next)
		}
		last := r.dial(shared)
		if len(all) < 4 || len(all) > 8 {
			t.Errorf("moved %d times", len(all))
		}
		for _, a := range append(all, last) {
			a.closedWith(wire.CauseRevoked)
			if over := time.Since(leaf.NotAfter); over < 0 || over > 2*link.Tick || !strings.Contains(a.reason, "the client certificate has ended at 2000-01-01T01:00:00Z") {
				t.Errorf("closed %s after that: %s", over, a.reason)
			}
		}
	})
}

// What lives long enough is moved by age.
func TestALinkOfALongCertificateIsMovedByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newClients(t)
		r := newCluster(t, 1, ca.take(certificate.Certificate), func(c *relay.Config) { c.LinkMaxAge = 50 * time.Minute }).replicas[0]
		_, shown := ca.issue(certtest.DNS("edge"), certtest.Lasting(24*time.Hour))
		r.links("edge", shown).wantDrain("max_age", 51*time.Minute)
	})
}

// With both, each of the two ends the link, and each can be taken back.
func TestWithBothEitherEndsTheLink(t *testing.T) {
	for what, end := range map[string]func(r *replica, ca *clients, leaf *x509.Certificate, c token.Claims){
		"the certificate ends":      func(*replica, *clients, *x509.Certificate, token.Claims) { time.Sleep(2 * time.Hour) },
		"the token ends":            func(*replica, *clients, *x509.Certificate, token.Claims) { time.Sleep(31 * time.Minute) },
		"the certificate is listed": func(_ *replica, ca *clients, leaf *x509.Certificate, _ token.Claims) { ca.revokes(leaf) },
		"the token is taken back": func(r *replica, _ *clients, _ *x509.Certificate, c token.Claims) {
			r.revokes(wire.RevokedSubject{Kind: wire.RevokedToken, Name: c.ID})
		},
		"the agent is taken back": func(r *replica, _ *clients, _ *x509.Certificate, _ token.Claims) { r.revokes(ofAgent("edge")) },
		"the key is removed":      func(r *replica, _ *clients, _ *x509.Certificate, _ token.Claims) { r.cluster.setKeys("n") },
	} {
		synctest.Test(t, func(t *testing.T) {
			ca := newClients(t)
			r := newCluster(t, 1, ca.take(certificate.Both)).replicas[0]
			life := 3 * time.Hour
			if what == "the token ends" {
				life = 30 * time.Minute
			}
			text := r.mintToken(token.Claims{Role: token.Agent, Name: "edge", Expires: time.Now().Add(life)})
			claims, _ := r.cluster.keys.Verify(text, time.Now())
			leaf, shown := ca.issue(certtest.DNS("edge"))
			a := r.dial(dialOptions{token: text, certificate: shown})
			time.Sleep(time.Minute)
			if a.isClosed() {
				t.Fatalf("%s: closed before", what)
			}
			end(r, ca, leaf, claims)
			time.Sleep(5 * time.Second)
			if !a.isClosed() || wire.CauseOf(int(a.status)) != wire.CauseRevoked {
				t.Errorf("%s: closed %t, with %d %s", what, a.isClosed(), a.status, a.reason)
			}
		})
	}
}

// A certificate is taken back as a token is: by the agent's name and time, or by its ID.
func TestACertificateIsTakenBackAsATokenIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newClients(t)
		r := newCluster(t, 1, ca.take(certificate.Certificate)).replicas[0]
		_, shown := ca.issue(certtest.DNS("edge"))
		_, other := ca.issue(certtest.DNS("other"))
		cred, err := ca.checker.Agent(other, "other", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		mine, byID := r.links("edge", shown), r.links("other", other)
		if n := r.LinksByKey()["certificate"]; n != 2 {
			t.Errorf("%d links by certificate", n)
		}
		if n := r.revokes(ofAgent("edge"), wire.RevokedSubject{Kind: wire.RevokedToken, Name: cred.ID}); n != 2 {
			t.Errorf("%d links closed", n)
		}
		mine.closedWith(wire.CauseRevoked)
		byID.closedWith(wire.CauseRevoked)
		if mine.reason != "revoked: the client certificate has been taken back" {
			t.Error(mine.reason)
		}
		_, resp, err := r.tryDial(dialOptions{tokenless: true, certificate: shown})
		if err == nil || resp.StatusCode != http.StatusUnauthorized || body(resp) != "the client certificate has been taken back: another must be issued, by a CA in the relay's client_ca_file" {
			t.Errorf("%v %v", resp, err)
		}
		time.Sleep(time.Second)
		_, fresh := ca.issue(certtest.DNS("edge"), certtest.Lasting(time.Hour))
		r.links("edge", fresh)
	})
}

// Who was let in before the list came is not welcomed after.
func TestACertificateThatIsListedWhileItsLinkOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newClients(t)
		r := startCluster(t, 1, true, ca.take(certificate.Certificate)).replicas[0] // no heartbeat sees to it
		leaf, shown := ca.issue(certtest.DNS("edge"))
		o := dialOptions{tokenless: true, certificate: shown, mum: true, instance: wire.NewID[wire.InstanceID](), name: "edge"}
		a, _, err := r.tryDial(o)
		if err != nil {
			t.Fatal(err)
		}
		ca.revokes(leaf)
		a.introduce(o)
		a.closedWith(wire.CauseRevoked)
		if len(a.frames) > 0 {
			t.Error("it was welcomed")
		}
	})
}

// A live link outlives neither its certificate nor that certificate's entry on a list,
// whatever comes in which order.
func TestNoOrderOfEventsLetsALinkOutliveItsCertificate(t *testing.T) {
	ca := newClients(t) // whose key is for all of them
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { outliveCertificate(t, rand.New(rand.NewPCG(seed, 1)), ca) })
	}
}

func outliveCertificate(t *testing.T, random *rand.Rand, ca *clients) {
	type peer struct {
		*agent
		options   dialOptions
		leaf      *x509.Certificate
		greeted   bool
		mayBeGone bool // its certificate was no good once
	}
	ca = &clients{ca.Authority, t, &certificate.Checker{Agents: ca.checker.Agents, Lists: new(certificate.Lists)}}
	r := newCluster(t, 1, ca.take(certificate.Certificate)).replicas[0]
	var peers []*peer
	var history []string
	note := func(format string, args ...any) { history = append(history, fmt.Sprintf(format, args...)) }
	bad := func(p *peer) bool {
		chain := p.options.certificate.VerifiedChains[0]
		return !time.Now().Before(p.leaf.NotAfter) || ca.checker.Lists.Now().Listed(chain)
	}
	look := func() {
		for _, p := range peers {
			p.mayBeGone = p.mayBeGone || bad(p)
		}
	}
	greet := func(p *peer) { p.greeted = true; p.introduce(p.options) }
	for range 40 {
		switch random.IntN(5) {
		case 0: // somebody dials, and may say nothing yet
			p := &peer{options: dialOptions{name: fmt.Sprintf("edge-%d", len(peers)), mum: true, tokenless: true, instance: wire.NewID[wire.InstanceID](), targets: []wire.Target{}}}
			p.leaf, p.options.certificate = ca.issue(certtest.DNS(p.options.name), certtest.Lasting(time.Duration(1+random.IntN(10))*time.Second))
			var err error
			if p.agent, _, err = r.tryDial(p.options); err != nil {
				t.Fatalf("%v after %q", err, history)
			}
			note("%s dials, until %s", p.options.name, p.leaf.NotAfter)
			peers = append(peers, p)
		case 1: // the first that has not goes on
			for _, p := range peers {
				if !p.greeted {
					note("%s greets", p.options.name)
					greet(p)
					break
				}
			}
		case 2:
			var of []*x509.Certificate
			for _, p := range peers {
				if random.IntN(4) == 0 {
					of = append(of, p.leaf)
				}
			}
			note("%d are on the list", len(of))
			ca.revokes(of...)
			look()
		default:
			time.Sleep(time.Duration(random.IntN(700)) * time.Millisecond)
			look()
		}
	}
	for _, p := range peers {
		if !p.greeted {
			greet(p)
		}
	}
	synctest.Wait()
	look()
	was := make(map[*peer]bool)
	for _, p := range peers {
		was[p] = bad(p)
	}
	time.Sleep(2*link.Tick + 2*time.Second) // Ticks, and the patience with the deaf
	for _, p := range peers {
		if gone := p.isClosed(); was[p] && !gone || gone && !p.mayBeGone && !bad(p) {
			t.Fatalf("%s: gone %t, with %d %s, bad %t, after %q", p.options.name, gone, p.status, p.reason, was[p], history)
		}
	}
}

// body is what a refusal says.
func body(resp *http.Response) string {
	text, _ := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(text))
}

// A CA that may be taken out of the listener's file.
type fileOfCAs struct{ has bool }

func (f *fileOfCAs) Have(*x509.Certificate) bool { return f.has }

// Links by a CA that is taken out of the file are moved, in case that their agents have
// certificates of another by now, and end within 5 s. One that comes back in time, as from
// a slip of the pen, ends nothing.
func TestLinksEndWithTheirCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, file := newClients(t), new(atomic.Pointer[fileOfCAs])
		file.Store(&fileOfCAs{true})
		ca.checker.CAs = func() certificate.CAs { return file.Load() }
		r := newCluster(t, 1, ca.take(certificate.Either)).replicas[0]
		_, shown := ca.issue(certtest.DNS("edge"))
		byToken, a := r.dial(dialOptions{name: "other"}), r.links("edge", shown)
		file.Store(&fileOfCAs{true}) // its other certificates have changed
		time.Sleep(time.Minute)
		file.Store(&fileOfCAs{false})
		a.wantDrain("ca_removed", time.Second)
		file.Store(&fileOfCAs{true})
		time.Sleep(time.Minute)
		if a.isClosed() {
			t.Fatal("closed though the CA is back")
		}
		file.Store(&fileOfCAs{false})
		start := time.Now()
		a.closedWith(wire.CauseRevoked)
		if took := time.Since(start); took > 5*time.Second || a.reason != "revoked: no CA in the relay's client_ca_file stands for the client certificate any more" {
			t.Errorf("closed after %s: %s", took, a.reason)
		}
		if _, resp, err := r.tryDial(dialOptions{tokenless: true, certificate: shown}); err == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%v %v", resp, err)
		}
		if byToken.isClosed() {
			t.Error("a token's link has ended with it")
		}
	})
}
