package agent

import (
	"crypto/x509"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/wire"
)

// certified is an agent's configuration with a certificate.
func certified(t *testing.T, san func(*x509.Certificate)) Config {
	t.Helper()
	dir := t.TempDir()
	certtest.NewAuthority(t, "ca").Issue(t, san).Write(t, dir)
	return Config{RelayURL: "https://relay.example.com", TLSCertFile: filepath.Join(dir, "cert.pem"), TLSKeyFile: filepath.Join(dir, "key.pem"), Links: 1}
}

// An agent without a token goes by its certificate's name. One with a token does not: its
// certificate may be for a front only.
func TestTheNameOfAnAgentWithACertificate(t *testing.T) {
	dns := certtest.DNS("Edge-1.example.com")
	for _, c := range []struct {
		what, name, token string
		san               func(*x509.Certificate)
		want              string // a name, or what the error says
	}{
		{"its DNS name", "", "", dns, "edge-1.example.com"},
		{"its SPIFFE ID's", "", "", certtest.URI("spiffe://a/tenant/blue/agent/edge-2"), "edge-2"},
		{"FARSCRAPE_NAME", "other", "", dns, "other"},
		{"the token's", "", jwt(`{"sub":"edge-3"}`), dns, "edge-3"},
		{"the host's, beside a pattern's token", "", jwt(`{"sub":"*"}`), dns, "host"},
		{"one of several", "", "", certtest.DNS("a", "b"), "FARSCRAPE_TLS_CERT_FILE: the certificate has 2 DNS names: set FARSCRAPE_NAME to one of them"},
		{"no name", "", "", certtest.DNS("*"), "FARSCRAPE_TLS_CERT_FILE: the certificate names nobody"},
		{"a SPIFFE ID of another kind", "", "", certtest.URI("spiffe://a/ns/blue/sa/edge"), "set FARSCRAPE_NAME to the name that the relay takes it for"},
	} {
		config := certified(t, c.san)
		config.Name, config.Token = c.name, c.token
		a, err := New(config, Options{Hostname: func() (string, error) { return "host", nil }})
		switch {
		case strings.Contains(c.want, " "):
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", c.what, err)
			}
		case err != nil || a.name != c.want:
			t.Errorf("%s: %v, %v", c.what, a, err)
		}
	}
}

// What an agent cannot do without is told in one sentence.
func TestAnAgentNeedsATokenOrACertificate(t *testing.T) {
	good := certified(t, certtest.DNS("edge-1"))
	for want, change := range map[string]func(*Config){
		"FARSCRAPE_TOKEN or FARSCRAPE_TOKEN_FILE must be set: farscrape-relay token -agent NAME prints a token, and farscrape-agent join URL gets one by a join token; or FARSCRAPE_TLS_CERT_FILE": func(c *Config) { c.TLSCertFile, c.TLSKeyFile = "", "" },
		"FARSCRAPE_RELAY_URL: must start with https://, since FARSCRAPE_TLS_CERT_FILE is shown over TLS only":                                                                                      func(c *Config) { c.RelayURL = "http://relay.example.com" },
		"FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE: set both or none":                                                                                                                     func(c *Config) { c.TLSKeyFile = "" },
		"FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE: ":                                                                                                                                     func(c *Config) { c.TLSCertFile = c.TLSKeyFile },
	} {
		config := good
		change(&config)
		if _, err := New(config, Options{}); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v", err)
		}
	}
}

// What a relay says of certificates is mended at other settings than what it says of
// tokens.
func TestMendsOfACertificate(t *testing.T) {
	const https, http1 = "https://relay", "http://relay"
	for _, c := range []struct {
		status          int
		text, url, cert string
		want            string
	}{
		{401, "no client certificate came: set", https, "", "set FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE"},
		{401, "no client certificate came: set", https, "c.pem", "does not reach the relay: let what stands before it pass TLS through"},
		{401, "no client certificate came: set", http1, "c.pem", "must start with https://"},
		{401, "the client certificate has ended at", https, "c.pem", "put another certificate into FARSCRAPE_TLS_CERT_FILE"},
		{403, "the client certificate is for", https, "c.pem", "set FARSCRAPE_NAME to the name that the certificate"},
		{401, "no token: set FARSCRAPE_TOKEN", https, "c.pem", "the relay takes no certificates instead of tokens"},
		{401, "no token: set FARSCRAPE_TOKEN", https, "", "to a new token"},
	} {
		config := Config{RelayURL: c.url, TLSCertFile: c.cert}
		if got := config.mendUpgrade(&upgradeError{status: c.status, reason: wire.Unauthorized.String(), text: c.text}); !strings.Contains(got, c.want) {
			t.Errorf("%d %s: %s", c.status, c.text, got)
		}
	}
}

// Without a token none is shown, not even an empty one.
func TestAnAgentWithACertificateShowsNoToken(t *testing.T) {
	a, err := New(certified(t, certtest.DNS("edge-1")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	header, err := a.dialHeader("", nil)
	if _, shown := header[http.CanonicalHeaderKey("Authorization")]; err != nil || shown {
		t.Errorf("%v, %v", header, err)
	}
}
