package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/store/storetest"
)

// certified writes a web configuration that takes clients of the CA.
func (w *tlsWorld) certified(ca *certtest.Authority) {
	w.write("client-ca.pem", string(ca.Certificate))
	w.write("web.yaml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: client-ca.pem, client_auth_type: VerifyClientCertIfGiven}")
}

// startCertified runs an agent without a token until the test ends.
func (w *tlsWorld) startCertified(relay string, own *certtest.Pair) {
	w.t.Helper()
	dir := w.t.TempDir()
	own.Write(w.t, dir)
	w.run(agent.Config{RelayURL: relay, TLSCertFile: filepath.Join(dir, "cert.pem"), TLSKeyFile: filepath.Join(dir, "key.pem")})
}

// shows is a client that trusts the relay and shows a certificate.
func (w *tlsWorld) shows(own *certtest.Pair) *http.Client {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: certtest.Client(w.t, own, w.pairs...)}}
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// Agent and scraper have certificates and nothing else, until their CA takes them back.
func TestCertificatesInsteadOfTokens(t *testing.T) {
	w, ca := newTLSWorld(t), certtest.NewAuthority(t, "clients")
	w.certified(ca)
	w.write("crl.der", string(ca.Revokes(t)))
	edge, other := ca.Issue(t, certtest.DNS("Edge-1.example.com")), ca.Issue(t, certtest.URI("spiffe://example.org/tenant/default/agent/edge-2"))
	prometheus := ca.Issue(t, certtest.DNS("prom-1.example.com"))
	url := "https" + strings.TrimPrefix(startRelay(t, "FARSCRAPE_SD_GRACE=0s", "FARSCRAPE_WEB_CONFIG_FILE="+w.path("web.yaml"), "FARSCRAPE_CLIENT_CRL_FILE="+w.path("crl.der"),
		"FARSCRAPE_AGENT_AUTH=certificate", "FARSCRAPE_EDGE_AUTH=certificate", "FARSCRAPE_SCRAPER_DNS_NAMES=prom-*.example.com"), "http")
	client := w.shows(prometheus)
	storetest.WaitUntil(t, 20*time.Second, "it listens", func() bool { s, _, _ := ask(client, url+"/-/ready", ""); return s == 200 })
	w.startCertified(url, edge)
	w.startCertified(url, other)
	up := func(agent string) func() bool {
		return func() bool {
			s, body, _ := ask(client, url+"/scrape/"+agent+"/node", "x")
			return s == 200 && body == "up 1\n"
		}
	}
	storetest.WaitUntil(t, 20*time.Second, "the agent with a DNS name is scraped", up("edge-1.example.com"))
	storetest.WaitUntil(t, 20*time.Second, "the agent with a SPIFFE ID is scraped", up("edge-2"))
	if n := metricOf(t, client, url, "", `farscrape_relay_links_by_key{key="certificate"}`); n != "2" {
		t.Errorf("%s links by certificate", n)
	}
	for what, bad := range map[string]*http.Client{"an agent's": w.shows(edge), "none": w.client(false)} {
		if s, body, err := ask(bad, url+"/sd", mintToken(t, "-scraper", "p")); err != nil || s != 401 && s != 403 {
			t.Errorf("%s: %d %s %v", what, s, body, err)
		}
	}
	spoilt := ca.Revokes(t, edge.Parse(t))
	spoilt[len(spoilt)-1] ^= 1
	w.write("crl.der", string(spoilt))
	storetest.WaitUntil(t, 5*time.Second, "a list that the CA has not signed is not taken", func() bool {
		return metricOf(t, client, url, "", "farscrape_relay_client_crl_last_reload_successful") == "0"
	})
	w.write("crl.der", string(certtest.ListPEM(ca.Revokes(t, edge.Parse(t)))))
	storetest.WaitUntil(t, 5*time.Second, "its link has ended", func() bool {
		s, _, _ := ask(client, url+"/scrape/edge-1.example.com/node", "")
		return s == 503
	})
	if !up("edge-2")() {
		t.Error("the other is gone, too")
	}
	w.write("crl.der", string(ca.Revokes(t, edge.Parse(t), prometheus.Parse(t))))
	storetest.WaitUntil(t, 5*time.Second, "the scraper is refused over its open connection", func() bool {
		s, body, _ := ask(client, url+"/sd", "")
		return s == 401 && strings.Contains(body, "FARSCRAPE_CLIENT_CRL_FILE")
	})
}

// Who stands for agents may be others than who stand for scrapers, by a listener each. A
// CA that is taken out of a file ends what came by it: links, and a scraper's connection
// that stays open.
func TestACAIsTakenOut(t *testing.T) {
	w, agents, scrapers := newTLSWorld(t), certtest.NewAuthority(t, "agents"), certtest.NewAuthority(t, "scrapers")
	w.certified(agents)
	w.write("scraper-ca.pem", string(scrapers.Certificate))
	w.write("edge.yaml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: scraper-ca.pem, client_auth_type: VerifyClientCertIfGiven}")
	listen := fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	url := "https" + strings.TrimPrefix(startRelay(t, "FARSCRAPE_SD_GRACE=0s", "FARSCRAPE_WEB_CONFIG_FILE="+w.path("web.yaml"), "FARSCRAPE_EDGE_WEB_CONFIG_FILE="+w.path("edge.yaml"), "FARSCRAPE_EDGE_LISTEN="+listen,
		"FARSCRAPE_AGENT_AUTH=certificate", "FARSCRAPE_EDGE_AUTH=certificate", "FARSCRAPE_SCRAPER_DNS_NAMES=prom"), "http")
	edge, name := "https://"+listen, certtest.DNS("edge-1")
	client := w.shows(scrapers.Issue(t, certtest.DNS("prom")))
	w.startCertified(url, agents.Issue(t, name))
	storetest.WaitUntil(t, 20*time.Second, "the agent is scraped", func() bool { s, _, _ := ask(client, edge+"/scrape/edge-1/node", ""); return s == 200 })
	if s, _, err := ask(w.shows(agents.Issue(t, certtest.DNS("prom"))), edge+"/sd", ""); err == nil && s != 401 {
		t.Error("an agents' CA stands for a scraper")
	}
	other := certtest.NewAuthority(t, "other")
	w.write("client-ca.pem", string(other.Certificate))
	storetest.WaitUntil(t, 10*time.Second, "the link has ended", func() bool { s, _, _ := ask(client, edge+"/scrape/edge-1/node", ""); return s == 503 })
	w.write("scraper-ca.pem", string(other.Certificate))
	storetest.WaitUntil(t, 5*time.Second, "the open connection is refused", func() bool {
		s, body, _ := ask(client, edge+"/sd", "")
		return s == 401 && strings.Contains(body, "no CA in the relay's client_ca_file stands for the client certificate any more")
	})
}

// A certificate that TLS itself refuses is told readably at the agent: TLS 1.3 tells it
// when the upgrade has been sent already.
func TestAnAgentReadsWhatTLSRefuses(t *testing.T) {
	w, ca, stranger := newTLSWorld(t), certtest.NewAuthority(t, "clients"), certtest.NewAuthority(t, "strangers")
	w.certified(ca)
	name := certtest.DNS("edge-1")
	ended := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }
	server := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	const taken = "does it take the certificate of FARSCRAPE_TLS_CERT_FILE?"
	for _, version := range []string{"TLS12", "TLS13"} {
		w.write("web.yaml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: client-ca.pem, client_auth_type: RequireAndVerifyClientCert, max_version: "+version+"}")
		url := "https" + strings.TrimPrefix(startRelay(t, "FARSCRAPE_WEB_CONFIG_FILE="+w.path("web.yaml"), "FARSCRAPE_AGENT_AUTH=certificate"), "http")
		for what, c := range map[string]struct {
			own       *certtest.Pair
			err, mend string
		}{
			"another CA's":    {stranger.Issue(t, name), "tls: ", taken},
			"ended":           {ca.Issue(t, name, ended), "tls: ", taken},
			"a server's":      {ca.Issue(t, name, server), "tls: ", taken},
			"signs itself":    {certtest.New(t, "edge-1", time.Now().Add(time.Hour)), "tls: ", taken},
			"not yet valid":   {ca.Issue(t, name, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), "tls: ", taken},
			"nobody's it is":  {ca.Issue(t), "403: forbidden: the client certificate names nobody", "FARSCRAPE_TLS_CERT_FILE"},
			"no name of that": {ca.Issue(t, certtest.DNS("edge-2")), `403: forbidden: the client certificate is for "edge-2", and does not allow the name "edge-1"`, "FARSCRAPE_NAME"},
		} {
			if log := w.whyNoLink(url, c.own); !strings.Contains(log, c.err) || !strings.Contains(log, c.mend) {
				t.Errorf("%s, %s: %s", version, what, log)
			}
		}
	}
}

// whyNoLink is what an agent logs first of a relay that listens and does not take it.
func (w *tlsWorld) whyNoLink(relay string, own *certtest.Pair) string {
	w.t.Helper()
	dir := w.t.TempDir()
	own.Write(w.t, dir)
	read, write := io.Pipe()
	a, err := agent.New(agent.Config{RelayURL: relay, Name: "edge-1", TLSCAFile: w.path("ca.pem"), TLSCertFile: filepath.Join(dir, "cert.pem"), TLSKeyFile: filepath.Join(dir, "key.pem"), Links: 1},
		agent.Options{Logger: slog.New(slog.NewTextHandler(write, nil))})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { _ = a.Run(ctx); write.Close() }()
	why := ""
	for lines := bufio.NewScanner(read); lines.Scan(); { // to its end
		if line := strings.ReplaceAll(lines.Text(), `\"`, `"`); why == "" && strings.Contains(line, "no link") && !strings.Contains(line, "connection refused") {
			why = line
			stop()
		}
	}
	return why
}
