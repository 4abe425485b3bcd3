package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"time"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/scripts/rig"
)

func certificateFaults() []fault {
	return []fault{
		{name: "certificate-swapped", figure: "0 scrapes and 0 links lost", short: true, inject: swapCertificates, judge: nothingLost, plan: plan{tls: true}},
	}
}

// tlsFiles are what replicas read to end TLS, all the same ones, and what their
// clients trust: each of the certificates that will be shown.
type tlsFiles struct {
	dir, web, trusted string
	pairs             []*certtest.Pair // the first is shown at first
	roots             *x509.CertPool
}

func (s *stack) newTLSFiles() *tlsFiles {
	f := &tlsFiles{dir: filepath.Join(s.Dir, "tls"), roots: x509.NewCertPool()}
	f.web, f.trusted = filepath.Join(f.dir, "web.yaml"), filepath.Join(f.dir, "trusted.pem")
	s.Must(os.Mkdir(f.dir, 0o700))
	var trusted []byte
	for _, name := range []string{"first", "second", "third"} {
		pair := certtest.New(s, name, time.Now().Add(24*time.Hour))
		f.pairs = append(f.pairs, pair)
		trusted = append(trusted, pair.Certificate...)
	}
	f.roots.AppendCertsFromPEM(trusted)
	f.pairs[0].Write(s, f.dir)
	s.Must(os.WriteFile(f.trusted, trusted, 0o600))
	s.Must(os.WriteFile(f.web, []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}"), 0o600))
	return f
}

// client is how they are spoken to; nil without TLS.
func (f *tlsFiles) client() *tls.Config {
	if f == nil {
		return nil
	}
	return &tls.Config{RootCAs: f.roots}
}

// scheme begins the URLs that agents and scrapers have.
func (s *stack) scheme() string {
	if s.tls == nil {
		return "http://"
	}
	return "https://"
}

// swapCertificates puts a new certificate in the place of the old one, ten times a
// minute, with half a key before each.
func swapCertificates(t *trial) {
	swaps, every := 30, 6*time.Second
	if t.short {
		swaps, every = 6, 3*time.Second
	}
	before, scrapes := t.lost(), len(t.scraper.since(t.began))
	for n := 1; n <= swaps; n++ {
		next := time.Now().Add(every)
		pair := t.tls.pairs[n%len(t.tls.pairs)]
		t.Must(os.WriteFile(filepath.Join(t.tls.dir, "key.pem"), pair.Key[:len(pair.Key)/2], 0o600))
		t.await("the half key is seen", func(r *rig.Replica) bool { return lastReload(r) == 0 })
		pair.Write(t, t.tls.dir)
		t.await("the next certificate is taken", func(r *rig.Replica) bool { return lastReload(r) == 1 })
		t.Wait(time.Until(next))
	}
	t.Note("%d exchanges with half a key before each; %d scrapes meanwhile", swaps, len(t.scraper.since(t.began))-scrapes)
	if n := t.lost() - before; n > 0 {
		t.Miss("%.0f links were lost", n)
	}
}

// await waits until something is so of all replicas.
func (t *trial) await(what string, so func(*rig.Replica) bool) {
	for _, r := range t.Replicas {
		t.Until(rig.Patience, what, func() bool { return so(r) })
	}
}

func lastReload(r *rig.Replica) float64 {
	return rig.Metric(r.Ops, "farscrape_relay_web_config_last_reload_successful")
}

// lost is how many links have ended that were not moved: balancing moves some.
func (t *trial) lost() (n float64) {
	for _, r := range t.Replicas {
		n += rig.Metric(r.Ops, "farscrape_relay_links_closed_total") - rig.Metric(r.Ops, "farscrape_relay_links_closed_total", `cause="drained"`)
	}
	return n
}

// nothingLost spares no scrape, not even a large one.
func nothingLost(t *trial) { t.judgeNone("of any, the large ones too", t.results) }
