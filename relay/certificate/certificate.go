// Package certificate makes of a client's certificate what a token's claims are. That it
// is its holder's, and that one of the listener's CAs stands for it, TLS has verified;
// here it is said whose it is, for how long, and whether its CA has taken it back.
package certificate

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/certname"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// An Auth is what one side of the relay takes for a credential.
type Auth string

// The empty Auth is Token.
const (
	Token       Auth = "token"
	Certificate Auth = "certificate"
	Either      Auth = "either" // a token if one is shown, good or not; else the certificate
	Both        Auth = "both"   // of one role, tenant and name
)

// Asks reports whether certificates count.
func (a Auth) Asks() bool { return a == Certificate || a == Either || a == Both }

// Key stands in Claims for the key that would have signed a token.
const Key = "certificate"

// What a certificate is refused by though whoever shows it is whom it names.
var (
	// ErrMissing: none came that TLS has verified.
	ErrMissing error = &refusal{"no client certificate came", token.ErrNotShown}
	// ErrEnded: it, or a certificate of its chain, is no longer valid.
	ErrEnded error = &refusal{"the client certificate has ended", token.ErrExpired}
	// ErrListed: it, or a certificate of its chain, is on its CA's revocation list.
	ErrListed error = &refusal{"the client certificate is on a list of FARSCRAPE_CLIENT_CRL_FILE", token.ErrRevoked}
	// ErrOrphaned: the CA that stood for it was taken out of the listener's file since.
	ErrOrphaned error = &refusal{"no CA in the relay's client_ca_file stands for the client certificate any more", token.ErrOtherKey}
)

// A refusal is an error whose cause, as is counted, is that of a token's.
type refusal struct {
	text string
	like error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.like }

// misnamed refuses a certificate for what it says of its holder.
func misnamed(err error) error {
	return &refusal{"the client certificate " + err.Error(), token.ErrName}
}

// Mend is that of a certificate that is good no more.
const Mend = "another must be issued, by a CA in the relay's client_ca_file"

// AnotherWouldDo reports whether a certificate was refused for what another of the same
// name would mend, and not for the name.
func AnotherWouldDo(err error) bool {
	return errors.Is(err, ErrMissing) || errors.Is(err, ErrEnded) || errors.Is(err, ErrListed) || errors.Is(err, ErrOrphaned)
}

// A Checker says whose a certificate is.
type Checker struct {
	Agents   *certname.Pattern // of agents' SPIFFE IDs
	Scrapers *certname.Pattern // of scrapers'; nil: none is one
	// ScraperNames are patterns of the DNS names that are scrapers'. None else is: one
	// set of CAs may stand for agents, too.
	ScraperNames []string
	Lists        *Lists     // of what CAs have taken back
	CAs          func() CAs // that stand for clients now; nil: as TLS found
}

// Agent says what the certificate of a connection is good for whose agent goes by a name,
// in lower case. Of one that has ended or is listed the Credential says whose it was. Of
// any that is refused it has the ID, if there is a certificate.
func (c *Checker) Agent(s *tls.ConnectionState, name string, now time.Time) (*Credential, error) {
	cred, leaf := c.verified(s)
	if leaf == nil {
		return cred, ErrMissing
	}
	if err := c.notAScrapers(leaf); err != nil {
		return cred, misnamed(err)
	}
	is, err := certname.Agent(leaf, c.Agents, name)
	if err != nil {
		return cred, misnamed(err)
	}
	cred.Role, cred.Tenant, cred.Name = token.Agent, is.Tenant, is.Name
	return cred, cred.Check(c.Trust(), now)
}

// Scraper is Agent for a scraper, which says no name.
func (c *Checker) Scraper(s *tls.ConnectionState, now time.Time) (*Credential, error) {
	cred, leaf := c.verified(s)
	if leaf == nil {
		return cred, ErrMissing
	}
	is, err := c.scraper(leaf)
	if err == nil {
		err = wire.CheckName("scraper", is.Name)
	}
	if err != nil {
		return cred, misnamed(err)
	}
	cred.Role, cred.Tenant, cred.Name = token.Scraper, is.Tenant, is.Name
	return cred, cred.Check(c.Trust(), now)
}

// verified is what is to be said of a connection's certificate but for its holder.
func (c *Checker) verified(s *tls.ConnectionState) (*Credential, *x509.Certificate) {
	if s == nil || len(s.VerifiedChains) == 0 {
		return new(Credential), nil
	}
	cred := &Credential{chain: c.Trust().best(s.VerifiedChains)}
	leaf := cred.chain[0]
	sum := sha256.Sum256(leaf.Raw)
	cred.ID, cred.Key = hex.EncodeToString(sum[:idSize]), Key
	cred.Issued, cred.First, cred.Expires = leaf.NotBefore.UTC(), leaf.NotBefore.UTC(), ends(cred.chain)
	return cred, leaf
}

// idSize is how many bytes of its hash are a certificate's ID: as many as a token's has.
const idSize = 8

// scraper says whose certificate a scraper's is.
func (c *Checker) scraper(leaf *x509.Certificate) (is certname.Identity, err error) {
	id, err := certname.SPIFFE(leaf)
	if err != nil {
		return is, err
	}
	if id != nil {
		is, ok, err := c.scraperID(id)
		switch {
		case ok:
			return is, err
		case c.Scrapers == nil:
			return is, errors.New("has a SPIFFE ID: set FARSCRAPE_SCRAPER_SPIFFE to say whose may scrape")
		}
		return is, fmt.Errorf("has the SPIFFE ID %.128q, which is not like FARSCRAPE_SCRAPER_SPIFFE", id)
	}
	names, err := c.scraperNames(leaf)
	switch {
	case err != nil:
		return is, err
	case len(names) == 0:
		return is, errors.New("is no scraper's: list its DNS name in FARSCRAPE_SCRAPER_DNS_NAMES, or give it a SPIFFE ID like FARSCRAPE_SCRAPER_SPIFFE")
	case len(names) > 1:
		return is, fmt.Errorf("has %d DNS names that are in FARSCRAPE_SCRAPER_DNS_NAMES: only one may be, by which it is known", len(names))
	}
	return certname.Identity{Tenant: wire.DefaultTenant, Name: names[0]}, nil
}

var errAmbiguous = errors.New("has a SPIFFE ID that FARSCRAPE_AGENT_SPIFFE and FARSCRAPE_SCRAPER_SPIFFE both mean: write one of them so that it does not")

// notAScrapers refuses as an agent's what is a scraper's, too.
func (c *Checker) notAScrapers(leaf *x509.Certificate) error {
	id, err := certname.SPIFFE(leaf)
	if err != nil {
		return err
	}
	if id != nil {
		_, _, err := c.scraperID(id)
		return err
	}
	names, err := c.scraperNames(leaf)
	if err == nil && len(names) > 0 {
		err = errors.New("is a scraper's: its DNS name is in FARSCRAPE_SCRAPER_DNS_NAMES")
	}
	return err
}

// scraperID is the scraper that an ID means, if it means one. It must mean no agent, too.
func (c *Checker) scraperID(id certname.ID) (is certname.Identity, ok bool, err error) {
	if c.Scrapers == nil {
		return is, false, nil
	}
	is, ok = c.Scrapers.Match(id)
	if _, agent := c.Agents.Match(id); ok && agent {
		err = errAmbiguous
	}
	return is, ok, err
}

// scraperNames are those DNS names of a certificate that are scrapers'.
func (c *Checker) scraperNames(leaf *x509.Certificate) ([]string, error) {
	names, err := certname.DNS(leaf)
	return slices.DeleteFunc(names, func(name string) bool {
		return !slices.ContainsFunc(c.ScraperNames, func(pattern string) bool { return wire.MatchGlob(pattern, name) })
	}), err
}
