// Package certname says what the holder of a certificate is called: by its SPIFFE ID,
// if it has one, else by a DNS name among its subject alternative names. The relay
// asks it about certificates that it has verified, and the agent about its own.
//
// The common name, wildcards, addresses and e-mails are nobody's name. Errors are
// predicates, of which "the client certificate" or the like is the subject.
package certname

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// An Identity is a name in a tenant.
type Identity struct{ Tenant, Name string }

// maxDNSNames bounds the names of a certificate, which are gone through whenever it is
// shown: with each scrape. A CA may put thousands into one, and those that browsers
// trust allow a hundred.
const maxDNSNames = 100

// Agent says whose certificate an agent's is: the identity that pattern makes of its
// SPIFFE ID, or else its DNS name, in the default tenant. Of several DNS names it is
// asked, the name that the agent goes by, if that is among them. No asked: the name must
// be plain without it.
func Agent(c *x509.Certificate, pattern *Pattern, asked string) (Identity, error) {
	id, err := SPIFFE(c)
	switch {
	case err != nil:
		return Identity{}, err
	case id != nil:
		is, ok := pattern.Match(id)
		if !ok {
			return Identity{}, fmt.Errorf("has the SPIFFE ID %.128q, which is not like %s", id, pattern)
		}
		if err := wire.CheckAgentName(is.Name); err != nil { // that of upper case is another workload's
			return Identity{}, fmt.Errorf("has the SPIFFE ID %.128q: %w", id, err)
		}
		return is, checkAsked(is.Name, asked)
	}
	names, err := DNS(c)
	switch {
	case err != nil:
		return Identity{}, err
	case len(names) == 0:
		return Identity{}, errNameless
	case len(names) == 1:
		return Identity{wire.DefaultTenant, names[0]}, checkAsked(names[0], asked)
	case asked == "":
		return Identity{}, fmt.Errorf("has %d DNS names: set FARSCRAPE_NAME to one of them", len(names))
	case !slices.Contains(names, asked):
		return Identity{}, fmt.Errorf("has %d DNS names, and %q is not among them", len(names), asked)
	}
	return Identity{wire.DefaultTenant, asked}, nil
}

var errNameless = errors.New("names nobody: it needs a SPIFFE ID or a DNS name among its subject alternative names; " +
	"the common name, wildcards, addresses and e-mails do not count")

func checkAsked(name, asked string) error {
	if asked != "" && asked != name {
		return fmt.Errorf("is for %q, and does not allow the name %q", name, asked)
	}
	return nil
}

// DNS are the names among the DNS names of a certificate that an agent may go by, in
// lower case, each of them once.
func DNS(c *x509.Certificate) ([]string, error) {
	if len(c.DNSNames) > maxDNSNames {
		return nil, fmt.Errorf("has %d DNS names: at most %d", len(c.DNSNames), maxDNSNames)
	}
	var names []string
	for _, name := range c.DNSNames {
		name = strings.ToLower(name)
		if wire.CheckAgentName(name) == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
