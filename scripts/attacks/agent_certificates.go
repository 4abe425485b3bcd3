package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/scripts/rig"
)

// certified is a relay that takes certificates beside tokens, from agents.
var certified = plan{split: true, tls: true, certificates: true}

// nameless gives a certificate's holder a name where none counts.
func nameless(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: attacker} }

// certificateAttacks are of those who show a certificate of a wrong kind. Whoever has a
// copy of a good one without its key cannot show it.
func certificateAttacks() []attack {
	const forbidden, unauthorized, handshake = "403 forbidden", "401 unauthorized", "TLS refuses"
	own := certtest.DNS(attacker)
	shows := func(name, sent, expected string, by func(*trial) *certtest.Authority, changes ...func(*x509.Certificate)) attack {
		return attack{name: "certificate-" + name, sent: sent, expected: expected, plan: certified, run: func(t *trial) string {
			_, seen := t.tryLink(0, guise{tokenless: true, certificate: by(t).Issue(t, changes...)})
			return seen
		}}
	}
	good := func(t *trial) *certtest.Authority { return t.stack.clients }
	stranger := func(t *trial) *certtest.Authority { return certtest.NewAuthority(t, "clients") } // by the same name
	thousands := make([]string, 3000)
	for i := range thousands {
		thousands[i] = fmt.Sprintf("%s-%d.example.com", attacker, i)
	}
	thousands[0] = attacker
	return []attack{
		shows("good", "a good one, for comparison", "linked", good, own),
		{name: "certificate-self-signed", sent: "one that signs itself", expected: handshake, plan: certified, run: func(t *trial) string {
			_, seen := t.tryLink(0, guise{tokenless: true, certificate: certtest.New(t, attacker, time.Now().Add(time.Hour))})
			return seen
		}},
		shows("other-ca", "one of another CA of the same name", handshake, stranger, own),
		shows("ended", "one that ended a minute ago", handshake, good, own, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
		}),
		shows("early", "one that begins in an hour", handshake, good, own, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}),
		shows("servers", "one for servers only", handshake, good, own, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		shows("nameless", "one with a common name only", forbidden, good, nameless),
		shows("wildcard", "one for *, and for an address", forbidden, good, nameless, certtest.DNS("*", "*.example.com"), func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }),
		shows("of-other", "one for another's name", forbidden, good, certtest.DNS("victim")),
		shows("thousands", "one with 3,000 DNS names, its own the first", forbidden, good, certtest.DNS(thousands...)),
		shows("spiffe-strange", "one with a SPIFFE ID of another kind, and its DNS name", forbidden, good, own, certtest.URI("spiffe://example.org/ns/default/sa/"+attacker)),
		shows("spiffe-two", "one with two SPIFFE IDs", forbidden, good, certtest.URI("spiffe://a/tenant/default/agent/"+attacker, "spiffe://a/tenant/other/agent/"+attacker)),
		shows("spiffe-escaped", "a SPIFFE ID with %2F in it", forbidden, good, certtest.URI("spiffe://a/tenant%2Fdefault/agent/"+attacker)),
		shows("spiffe-case", "a SPIFFE ID that is its name but for the case", forbidden, good, certtest.URI("spiffe://a/tenant/default/agent/Mallory")),
		shows("scrapers", "a scraper's", forbidden, good, certtest.URI("spiffe://a/tenant/default/scraper/"+attacker)),
		shows("scrapers-name", "one with its name and a scraper's", forbidden, good, certtest.DNS(attacker, "prom-1.example.com")),
		{name: "certificate-other-tenant", sent: "another tenant's SPIFFE ID for a name that is taken here", expected: "linked; 200 victim/t", plan: certified, run: func(t *trial) string {
			_, seen := t.tryLink(0, guise{name: "victim", tokenless: true, certificate: t.stack.clients.Issue(t, certtest.URI("spiffe://a/tenant/red/agent/victim"))})
			return seen + "; " + t.scrape(0, "victim", small).String()
		}},
		{name: "certificate-forwarded", sent: "a good one, in the fields that fronts write", expected: unauthorized, plan: certified, run: func(t *trial) string {
			text := strings.ReplaceAll(string(t.stack.clients.Issue(t, own).Certificate), "\n", "%0A")
			fields := http.Header{"X-Forwarded-Client-Cert": {"Cert=\"" + text + "\";DNS=" + attacker}, "X-Ssl-Client-Cert": {text}, "Ssl-Client-Verify": {"SUCCESS"}, "X-Client-Verify": {"SUCCESS"}, "Client-Cert": {":" + text + ":"}}
			_, seen := t.tryLink(0, guise{tokenless: true, fields: fields})
			return seen
		}},
		{name: "certificate-and-bad-token", sent: "a good one beside a token that has ended, and one of another key", expected: unauthorized + "; " + unauthorized, plan: certified, run: func(t *trial) string {
			c := t.stack.clients.Issue(t, own)
			ended, _, err := t.stack.keys.Mint(token.Claims{Role: token.Agent, Name: attacker, Expires: time.Now().Add(-time.Minute)}, time.Now().Add(-time.Hour))
			t.Must(err)
			other, err := token.ParseKeys([]byte(strings.Repeat("o", 32)))
			t.Must(err)
			forged, _, err := other.Mint(token.Claims{Role: token.Agent, Name: attacker}, time.Now())
			t.Must(err)
			_, first := t.tryLink(0, guise{certificate: c, token: ended})
			_, second := t.tryLink(0, guise{certificate: c, token: forged})
			return first + "; " + second
		}},
		{name: "certificate-listed", sent: "one that its CA takes back while its link is up, and again", expected: "4007 revoked within 5 s; then " + unauthorized, plan: certified, run: func(t *trial) string {
			c := t.stack.clients.Issue(t, own)
			p := t.link(0, guise{tokenless: true, certificate: c})
			t.stack.revokeCertificates(c.Parse(t))
			seen := p.closes(5 * time.Second)
			_, then := t.tryLink(0, guise{tokenless: true, certificate: c})
			return seen + " within 5 s; then " + then
		}},
		{name: "certificate-list-bad", sent: "a revocation list that is cut short, after one that names it", expected: unauthorized, plan: certified, run: func(t *trial) string {
			c := t.stack.clients.Issue(t, own)
			t.stack.revokeCertificates(c.Parse(t))
			t.Until(rig.Patience, "it is refused", func() bool {
				_, seen := t.tryLink(0, guise{tokenless: true, certificate: c})
				return seen == unauthorized
			})
			t.Must(os.WriteFile(filepath.Join(t.stack.Dir, "crl.pem"), []byte("-----BEGIN X509 CRL-----\nMII"), 0o600))
			t.Until(rig.Patience, "the list is not taken", func() bool {
				return rig.Metric(t.stack.Replicas[0].Ops, "farscrape_relay_client_crl_last_reload_successful") == 0
			})
			_, seen := t.tryLink(0, guise{tokenless: true, certificate: c})
			return seen
		}},
		{name: "certificate-ends", sent: "one that ends in 4 s, by a link that stays", expected: "4007 revoked within 6 s", plan: certified, run: func(t *trial) string {
			return t.link(0, guise{tokenless: true, certificate: t.stack.clients.Issue(t, own, certtest.Lasting(4*time.Second))}).closes(6*time.Second) + " within 6 s"
		}},
		{name: "certificate-strangers", sent: "2,000 handshakes with one of another CA", expected: "2000 × " + handshake, plan: certified, run: func(t *trial) string {
			c := stranger(t).Issue(t, own)
			return t.many(2000, 20, func(int) string {
				_, seen := t.upgrade(0, guise{tokenless: true, certificate: c})
				return seen
			})
		}},
		{name: "certificate-both", sent: "where both count: none, another's, another tenant's, its own without a token", expected: unauthorized + ", " + forbidden + ", " + forbidden + ", " + unauthorized, plan: certified, run: func(t *trial) string {
			r := t.startCertified("FARSCRAPE_AGENT_AUTH=both")
			issue := func(san func(*x509.Certificate)) *certtest.Pair { return t.stack.clients.Issue(t, san) }
			var all []string
			for _, g := range []guise{{}, {certificate: issue(certtest.DNS("victim"))}, {certificate: issue(certtest.URI("spiffe://a/tenant/red/agent/" + attacker))}, {certificate: issue(own), tokenless: true}} {
				_, seen := t.upgradeAt(r.Addr, g)
				all = append(all, seen)
			}
			return strings.Join(all, ", ")
		}},
		{name: "certificate-at-edge", sent: "an agent's, none, and a scraper's beside a token of another scraper, at the edge", expected: forbidden + ", " + forbidden + ", " + unauthorized + ", " + unauthorized + ", 200 -", plan: certified, run: func(t *trial) string {
			r := t.startCertified("FARSCRAPE_EDGE_AUTH=either", "FARSCRAPE_SCRAPER_DNS_NAMES=prom-*.example.com")
			prometheus := t.stack.clients.Issue(t, certtest.DNS("prom-1.example.com"))
			return strings.Join([]string{
				t.getBy(r, t.stack.clients.Issue(t, own), ""), t.getBy(r, t.stack.clients.Issue(t, certtest.URI("spiffe://a/tenant/default/agent/"+attacker)), ""),
				t.getBy(r, nil, ""), t.getBy(r, prometheus, "x"), t.getBy(r, prometheus, ""),
			}, ", ")
		}},
	}
}

// endTLSFor adds to the web configuration that certificates of a CA count.
func (s *stack) endTLSFor(web string) {
	s.clients = certtest.NewAuthority(s, "clients")
	s.Must(os.WriteFile(filepath.Join(s.Dir, "clients.pem"), s.clients.Certificate, 0o600))
	s.Must(os.WriteFile(web, []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: clients.pem, client_auth_type: VerifyClientCertIfGiven}"), 0o600))
	s.revokeCertificates()
	s.RelayEnv = append(s.RelayEnv, "FARSCRAPE_AGENT_AUTH=either", "FARSCRAPE_SCRAPER_DNS_NAMES=prom-*.example.com", "FARSCRAPE_SCRAPER_SPIFFE=spiffe://*/tenant/{tenant}/scraper/{scraper}",
		"FARSCRAPE_CLIENT_CRL_FILE="+filepath.Join(s.Dir, "crl.pem"))
}

// revokeCertificates puts a list of them into force.
func (s *stack) revokeCertificates(all ...*x509.Certificate) {
	file := filepath.Join(s.Dir, "crl.pem")
	s.Must(os.WriteFile(file+".new", certtest.ListPEM(s.clients.Revokes(s, all...)), 0o600))
	s.Must(os.Rename(file+".new", file))
}

// startCertified starts a replica beside the others, that takes agents and scrapers by
// one listener with TLS.
func (t *trial) startCertified(env ...string) *rig.Replica {
	r := t.own.StartReplica("certified", append(env, "FARSCRAPE_WEB_CONFIG_FILE="+filepath.Join(t.stack.Dir, "web.yaml"))...)
	r.AwaitReady()
	return r
}

// getBy is what comes of a listing that is asked for with a certificate, or a token.
func (t *trial) getBy(r *rig.Replica, shown *certtest.Pair, token string) string {
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: t.stack.tlsFor(shown)}}
	req, err := http.NewRequestWithContext(t.Ctx, "GET", "https://"+r.Edge+"/sd", nil)
	t.Must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return refused(nil, err)
	}
	defer resp.Body.Close()
	return refused(resp, nil)
}

// tlsFor is what a client of the replicas speaks that shows a certificate, or none.
func (s *stack) tlsFor(shown *certtest.Pair) *tls.Config {
	pem, err := os.ReadFile(filepath.Join(s.Dir, "cert.pem"))
	s.Must(err)
	conf := certtest.Client(s, shown, &certtest.Pair{Certificate: pem})
	if shown != nil { // whatever CAs the replica says it would take
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &conf.Certificates[0], nil }
	}
	return conf
}

// secured is a connection to a replica by TLS, where it speaks that.
func (s *stack) secured(ctx context.Context, conn net.Conn, shown *certtest.Pair) (net.Conn, error) {
	if !s.plan.tls {
		return conn, nil
	}
	conf := s.tlsFor(shown)
	conf.ServerName = "localhost"
	secure := tls.Client(conn, conf)
	return secure, secure.HandshakeContext(ctx)
}

// ofTLS reports whether a dial failed for TLS, which TLS 1.3 says after the handshake.
func ofTLS(err error) bool { return strings.Contains(err.Error(), "tls: ") }
