// Package certtest makes certificates for tests.
package certtest

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A Pair is a certificate that signs itself, for this machine's addresses and for
// whoever is called by its name, and its key, both in PEM.
type Pair struct{ Certificate, Key []byte }

// New makes a pair that ends then.
func New(t testing.TB, name string, ends time.Time) *Pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: ends,
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"localhost", name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key := newKey(t)
	return signed(t, template, template, key, key)
}

// Write puts the pair into dir, as cert.pem and key.pem, in the place of an older one,
// one after the other: for a while the two are no pair.
func (p *Pair) Write(t testing.TB, dir string) {
	t.Helper()
	for name, content := range map[string][]byte{"cert.pem": p.Certificate, "key.pem": p.Key} {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file+".new", content, 0o600))
		must(t, os.Rename(file+".new", file))
	}
}

// Client is a client's configuration that trusts these, and shows its own if there is one.
func Client(t testing.TB, own *Pair, trusted ...*Pair) *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	for _, p := range trusted {
		c.RootCAs.AppendCertsFromPEM(p.Certificate)
	}
	if own != nil {
		pair, err := tls.X509KeyPair(own.Certificate, own.Key)
		must(t, err)
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
