package certname

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// maxID is how long a SPIFFE ID may be, in bytes (SPIFFE-ID, 2.3).
const maxID = 2048

// An ID is a SPIFFE ID: its trust domain, and the segments of its path.
type ID []string

func (id ID) String() string { return "spiffe://" + strings.Join(id, "/") }

// SPIFFE is the SPIFFE ID of a certificate; nil if it has none. Who has one has it alone
// among URIs, and is no CA (X509-SVID, 2 and 4.1): what is neither is nobody's.
func SPIFFE(c *x509.Certificate) (ID, error) {
	for _, u := range c.URIs {
		if u.Scheme != "spiffe" {
			continue
		}
		switch {
		case len(c.URIs) > 1:
			return nil, errors.New("has another URI beside its SPIFFE ID")
		case c.IsCA:
			return nil, errors.New("has a SPIFFE ID and is a CA's: CAs are no workloads")
		}
		id, ok := parseID(u)
		if !ok {
			return nil, errors.New("has a URI of SPIFFE that is no SPIFFE ID")
		}
		return id, nil
	}
	return nil, nil
}

// parseID takes a URI apart, if it is a SPIFFE ID. The characters that it may have leave
// nothing to decode.
func parseID(u *url.URL) (ID, bool) {
	if u.Opaque != "" || u.User != nil || u.RawPath != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || len(u.Host)+len(u.Path) > maxID-len("spiffe://") {
		return nil, false
	}
	id := ID{u.Host}
	if u.Path != "" {
		id = append(id, strings.Split(u.Path, "/")[1:]...)
	}
	for i, segment := range id {
		if !idSegment(segment) || i == 0 && strings.ToLower(segment) != segment {
			return nil, false
		}
	}
	return id, true
}

// idSegment reports whether it can be a segment of an ID's path, or its trust domain.
func idSegment(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return s != "" && s != "." && s != ".." && strings.Trim(s, allowed) == ""
}

// A Pattern says which SPIFFE IDs are of agents, or of scrapers, and what they are
// called:
//
//	spiffe://*/tenant/{tenant}/agent/{agent}
//	spiffe://example.org/ns/{tenant}/sa/{agent}
//
// Each part, the trust domain and every segment of the path, is itself, or * for any,
// or {tenant}, or the holder's name. An ID has as many parts as its pattern.
type Pattern struct {
	text   string
	parts  []string
	tenant int // which part says it; -1: none does
	name   int
}

// AgentPattern is what SPIFFE IDs of agents are like unless somebody says otherwise.
const AgentPattern = "spiffe://*/tenant/{tenant}/agent/{agent}"

// ParsePattern reads a pattern, of which holder is agent or scraper.
func ParsePattern(text, holder string) (*Pattern, error) {
	example := fmt.Sprintf("must be like spiffe://example.org/tenant/{tenant}/%[1]s/{%[1]s}", holder)
	rest, ok := strings.CutPrefix(text, "spiffe://")
	if !ok || len(text) > maxID {
		return nil, errors.New(example)
	}
	p := &Pattern{text: text, parts: strings.Split(rest, "/"), tenant: -1, name: -1}
	for i, part := range p.parts {
		of := map[string]*int{"{tenant}": &p.tenant, "{" + holder + "}": &p.name}[part]
		switch {
		case of != nil && *of >= 0:
			return nil, fmt.Errorf("has %s twice: %s", part, example)
		case of != nil:
			*of = i
		case part != "*" && !idSegment(part), i == 0 && strings.ToLower(part) != part:
			return nil, fmt.Errorf("part %d, %.64q, is neither a plain name, *, {tenant} nor {%s}: %s", i+1, part, holder, example)
		}
	}
	if p.name < 1 {
		return nil, fmt.Errorf("has no {%s} in its path: %s", holder, example)
	}
	return p, nil
}

func (p *Pattern) String() string { return p.text }

// Match reports whether an ID is one of the pattern's, and whose.
func (p *Pattern) Match(id ID) (Identity, bool) {
	is := Identity{Tenant: wire.DefaultTenant}
	if len(id) != len(p.parts) {
		return is, false
	}
	for i, part := range p.parts {
		switch {
		case i == p.tenant:
			is.Tenant = id[i]
		case i == p.name:
			is.Name = id[i]
		case part != "*" && part != id[i]:
			return is, false
		}
	}
	return is, wire.CheckName("tenant", is.Tenant) == nil
}
