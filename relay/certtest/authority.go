package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"slices"
	"testing"
	"time"
)

// An Authority is a CA, which stands for clients.
type Authority struct {
	Pair
	Parsed *x509.Certificate
	key    *ecdsa.PrivateKey
	above  []byte // certificates of those above it, but for the root's, in PEM
}

// NewAuthority makes one that signs itself.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	return newAuthority(t, name, nil, x509.KeyUsageCertSign|x509.KeyUsageCRLSign)
}

// WithoutCRLSign makes one whose certificate does not say that it may sign lists, as those
// of some tools do not.
func WithoutCRLSign(t testing.TB, name string) *Authority {
	t.Helper()
	return newAuthority(t, name, nil, x509.KeyUsageCertSign)
}

// Under makes one that this one stands for.
func (a *Authority) Under(t testing.TB, name string) *Authority {
	t.Helper()
	return newAuthority(t, name, a, x509.KeyUsageCertSign|x509.KeyUsageCRLSign)
}

func newAuthority(t testing.TB, name string, parent *Authority, usage x509.KeyUsage) *Authority {
	a := &Authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: usage,
	}
	by, key := template, a.key
	if parent != nil {
		by, key = parent.Parsed, parent.key
	}
	a.Pair = *signed(t, template, by, a.key, key)
	block, _ := pem.Decode(a.Certificate)
	var err error
	a.Parsed, err = x509.ParseCertificate(block.Bytes)
	must(t, err)
	if parent != nil {
		a.above = slices.Concat(a.Certificate, parent.above)
	}
	return a
}

// Issue makes a client's certificate that ends in an hour unless the changes say
// otherwise, with those of the CAs that it needs behind it.
func (a *Authority) Issue(t testing.TB, changes ...func(*x509.Certificate)) *Pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, change := range changes {
		change(template)
	}
	p := signed(t, template, a.Parsed, newKey(t), a.key)
	p.Certificate = append(p.Certificate, a.above...)
	return p
}

// DNS gives a certificate DNS names.
func DNS(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// URI gives a certificate URIs, such as SPIFFE IDs.
func URI(all ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, text := range all {
			u, err := url.Parse(text)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, u)
		}
	}
}

// Lasting has a certificate begin now and end after that.
func Lasting(life time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now(), time.Now().Add(life) }
}

// Revokes is the CA's list of certificates that it has taken back, in DER. It is to be
// replaced in an hour.
func (a *Authority) Revokes(t testing.TB, certificates ...*x509.Certificate) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: serial(t), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range certificates {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	by := *a.Parsed
	by.KeyUsage |= x509.KeyUsageCRLSign // or x509 makes none
	der, err := x509.CreateRevocationList(rand.Reader, list, &by, a.key)
	must(t, err)
	return der
}

// Signer is the CA's key, for lists that Revokes does not make.
func (a *Authority) Signer() crypto.Signer { return a.key }

// ListPEM is a revocation list as it stands in files.
func ListPEM(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}) }

// Parse returns the pair's own certificate.
func (p *Pair) Parse(t testing.TB) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(p.Certificate)
	c, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return private
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	must(t, err)
	return n
}

// signed makes a pair of a template and its own key, signed with the parent's.
func signed(t testing.TB, template, parent *x509.Certificate, own, with *ecdsa.PrivateKey) *Pair {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, own.Public(), with)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(own)
	must(t, err)
	return &Pair{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
}
