package webconfig

import (
	"crypto/x509"
	"encoding/pem"
)

// ClientCAs are those that stand for clients. They do not change.
type ClientCAs struct{ der map[string]bool }

// Have reports whether a CA is among them.
func (c *ClientCAs) Have(ca *x509.Certificate) bool { return c.der[string(ca.Raw)] }

// Certificates are those of them that can be read.
func (c *ClientCAs) Certificates() (all []*x509.Certificate) {
	for der := range c.der {
		if ca, err := x509.ParseCertificate([]byte(der)); err == nil {
			all = append(all, ca)
		}
	}
	return all
}

// ClientCAs are those of the file that is in force; other ones once another is. Where no
// client is verified there are none.
func (w *Web) ClientCAs() *ClientCAs { return w.now.Load().cas }

// clientCAs are those in a text of PEM.
func clientCAs(text []byte) *ClientCAs {
	c := &ClientCAs{der: make(map[string]bool)}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return c
		}
		if block.Type == "CERTIFICATE" {
			c.der[string(block.Bytes)] = true
		}
		text = rest
	}
}
