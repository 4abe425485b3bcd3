package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/certname"
)

// auths are what AGENT_AUTH may be; EDGE_AUTH may be none, too.
var auths = []string{string(certificate.Token), string(certificate.Certificate), string(certificate.Either), string(certificate.Both)}

func (c *config) agentAuth() certificate.Auth { return certificate.Auth(c.AgentAuth) }
func (c *config) edgeAuth() certificate.Auth  { return certificate.Auth(c.EdgeAuth) }

// checkCertificates checks what is set of clients' certificates. What the files say that
// it names is checked with them.
func (c *config) checkCertificates() error {
	needs := func(setting, webConfig string) error {
		return fmt.Errorf("%s needs FARSCRAPE_%s, with client_ca_file and client_auth_type VerifyClientCertIfGiven or RequireAndVerifyClientCert", setting, webConfig)
	}
	switch {
	case !slices.Contains(auths, c.AgentAuth):
		return fmt.Errorf("FARSCRAPE_AGENT_AUTH=%s: must be token, certificate, either or both", c.AgentAuth)
	case !slices.Contains(append(auths, "none"), c.EdgeAuth):
		return fmt.Errorf("FARSCRAPE_EDGE_AUTH=%s: must be token, certificate, either, both or none", c.EdgeAuth)
	case c.mainCertificates() != "" && c.WebConfigFile == "":
		return needs(c.mainCertificates(), "WEB_CONFIG_FILE")
	case c.edgeCertificates() != "" && c.EdgeWebConfigFile == "":
		return needs(c.edgeCertificates(), "EDGE_WEB_CONFIG_FILE")
	case c.edgeAuth().Asks() && c.ScraperSPIFFE == "" && len(c.ScraperDNSNames) == 0:
		return fmt.Errorf("FARSCRAPE_EDGE_AUTH=%s needs to know whose certificates are scrapers': set FARSCRAPE_SCRAPER_SPIFFE, such as spiffe://example.org/tenant/{tenant}/scraper/{scraper}, "+
			"or FARSCRAPE_SCRAPER_DNS_NAMES, such as prometheus.example.com", c.EdgeAuth)
	case c.ClientCRLFile != "" && !c.agentAuth().Asks() && !c.edgeAuth().Asks():
		return errors.New("FARSCRAPE_CLIENT_CRL_FILE has no effect without FARSCRAPE_AGENT_AUTH or FARSCRAPE_EDGE_AUTH=certificate, either or both: set one, or unset it")
	}
	_, err := c.checker(nil)
	return err
}

// mainCertificates is the setting by which certificates are credentials at LISTEN; empty
// if none does that.
func (c *config) mainCertificates() string {
	switch {
	case c.agentAuth().Asks():
		return "FARSCRAPE_AGENT_AUTH=" + c.AgentAuth
	case c.edgeAuth().Asks() && c.EdgeListen == "":
		return "FARSCRAPE_EDGE_AUTH=" + c.EdgeAuth
	}
	return ""
}

// edgeCertificates is the same of EDGE_LISTEN.
func (c *config) edgeCertificates() string {
	if c.edgeAuth().Asks() && c.EdgeListen != "" {
		return "FARSCRAPE_EDGE_AUTH=" + c.EdgeAuth
	}
	return ""
}

// checkers say whose agents' certificates are, and whose scrapers', which may come by
// another listener, with other CAs.
func (c *config) checkers(lists *certificate.Lists, l *listeners) (agents, scrapers *certificate.Checker, err error) {
	if agents, err = c.checker(lists); err != nil {
		return nil, nil, err
	}
	agents.CAs = l.main.clientCAs()
	other := *agents
	scrapers = &other
	if l.edge != nil {
		scrapers.CAs = l.edge.clientCAs()
	}
	return agents, scrapers, nil
}

// clientCAs are those that stand for who comes by the port; nil without TLS.
func (p *port) clientCAs() func() certificate.CAs {
	if p.web == nil {
		return nil
	}
	return func() certificate.CAs { return p.web.ClientCAs() }
}

// checker says whose certificates are.
func (c *config) checker(lists *certificate.Lists) (*certificate.Checker, error) {
	checker := &certificate.Checker{Lists: lists}
	var err error
	if checker.Agents, err = certname.ParsePattern(c.AgentSPIFFE, "agent"); err != nil {
		return nil, fmt.Errorf("FARSCRAPE_AGENT_SPIFFE: %w", err)
	}
	if c.ScraperSPIFFE != "" {
		if checker.Scrapers, err = certname.ParsePattern(c.ScraperSPIFFE, "scraper"); err != nil {
			return nil, fmt.Errorf("FARSCRAPE_SCRAPER_SPIFFE: %w", err)
		}
	}
	for _, name := range c.ScraperDNSNames {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, err := path.Match(name, ""); err != nil || name == "" {
			return nil, fmt.Errorf("FARSCRAPE_SCRAPER_DNS_NAMES: %q: must be like prometheus.example.com or prom-*.example.com, with commas between them", name)
		}
		checker.ScraperNames = append(checker.ScraperNames, name)
	}
	return checker, nil
}
