package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	promconfig "github.com/prometheus/common/config"
)

// relayTLS is how the relay is spoken to, from the files as they are now. It takes
// note of when their certificates end.
func (a *Agent) relayTLS() (*tls.Config, error) {
	conf, err := a.config.relayTLS()
	if err != nil {
		return nil, err
	}
	if a.config.TLSCertFile != "" {
		pair, err := a.config.ownCertificate()
		if err != nil { // it has changed since
			return nil, err
		}
		a.metrics.ends("client", pair.Leaf.NotAfter)
	}
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		a.metrics.ends("relay", trustEnds(state.VerifiedChains))
		return nil
	}
	return conf, nil
}

// ownCertificate is the agent's own, as its files are now.
func (c *Config) ownCertificate() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE: %w: they must be a certificate and its key, in PEM", err)
	}
	return &pair, nil
}

// trustEnds is when the last of the chains ends by which a certificate is trusted: each
// ends with the first of its certificates.
func trustEnds(chains [][]*x509.Certificate) (last time.Time) {
	for _, chain := range chains {
		var first time.Time
		for _, c := range chain {
			if first.IsZero() || c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
		if first.After(last) {
			last = first
		}
	}
	return last
}

// relayTLS is how the relay is spoken to, from the files as they are now. The library
// says which file and what is wrong with it, and does not know our variables.
func (c *Config) relayTLS() (*tls.Config, error) {
	conf, err := promconfig.NewTLSConfig(&promconfig.TLSConfig{CAFile: c.TLSCAFile, MinVersion: tls.VersionTLS12})
	switch {
	case err != nil:
		return nil, fmt.Errorf("FARSCRAPE_TLS_CA_FILE: %w: it must be a file of certificates in PEM", err)
	case (c.TLSCertFile == "") != (c.TLSKeyFile == ""):
		return nil, errors.New("FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE: set both or none")
	}
	own, err := promconfig.NewTLSConfig(&promconfig.TLSConfig{CertFile: c.TLSCertFile, KeyFile: c.TLSKeyFile})
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE: %w: they must be a certificate and its key, in PEM", err)
	}
	conf.GetClientCertificate = own.GetClientCertificate
	return conf, nil
}
