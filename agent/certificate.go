package agent

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/farscrape/farscrape/relay/certname"
)

// checkWithoutToken reports why the agent cannot do without a token.
func (c *Config) checkWithoutToken() error {
	switch {
	case c.TLSCertFile == "":
		return errors.New("FARSCRAPE_TOKEN or FARSCRAPE_TOKEN_FILE must be set: farscrape-relay token -agent NAME prints a token, and farscrape-agent join URL gets one by a join token; " +
			"or FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE, where the relay's FARSCRAPE_AGENT_AUTH takes certificates")
	case !c.overTLS():
		return errors.New("FARSCRAPE_RELAY_URL: must start with https://, since FARSCRAPE_TLS_CERT_FILE is shown over TLS only: or set FARSCRAPE_TOKEN_FILE")
	}
	return nil
}

// agentName is the name that this agent goes by, with a token or without.
func (c *Config) agentName(token string, host func() (string, error)) (string, error) {
	if token == "" && c.Name == "" {
		return c.certificateName()
	}
	return agentName(c.Name, token, c.tokenSetting(), host)
}

// certificateName is the name in the agent's own certificate, which a relay reads by the
// same rules, unless its FARSCRAPE_AGENT_SPIFFE is another than the default.
func (c *Config) certificateName() (string, error) {
	pair, err := c.ownCertificate()
	if err != nil {
		return "", err
	}
	pattern, err := certname.ParsePattern(certname.AgentPattern, "agent")
	if err != nil {
		return "", err
	}
	is, err := certname.Agent(pair.Leaf, pattern, "")
	if err != nil {
		return "", fmt.Errorf("FARSCRAPE_TLS_CERT_FILE: the certificate %w: or set FARSCRAPE_NAME to the name that the relay takes it for", err)
	}
	return is.Name, nil
}

// mendCertificate is what a person can do about a relay's word on the agent's certificate.
func (c *Config) mendCertificate(e *upgradeError) string {
	switch {
	case e.status == http.StatusForbidden:
		return "set FARSCRAPE_NAME to the name that the certificate of FARSCRAPE_TLS_CERT_FILE has, or give it one for this name"
	case strings.Contains(e.text, "no client certificate") && c.TLSCertFile == "":
		return "set FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE to a certificate that the relay's client_ca_file stands for"
	case strings.Contains(e.text, "no client certificate") && !c.overTLS():
		return "FARSCRAPE_RELAY_URL must start with https://: certificates are shown over TLS only"
	case strings.Contains(e.text, "no client certificate"):
		return "the certificate of FARSCRAPE_TLS_CERT_FILE does not reach the relay: let what stands before it pass TLS through, and end none itself"
	}
	return "put another certificate into FARSCRAPE_TLS_CERT_FILE: whatever renews it does not, or its CA has taken it back"
}
