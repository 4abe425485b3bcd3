package edge

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/wire"
)

// A mode is what a request is.
type mode uint8

const (
	ownPage   mode = iota // one of our own endpoints
	pathMode              // GET /scrape/{agent}/{target}
	proxyMode             // GET http://{agent}:{port}/{path}, or what a front-end made of it
	anyMode               // not known yet
)

// An OriginForm says which requests in origin form a front-end may have made of
// proxy mode's, whose form is absolute.
type OriginForm uint8

// The origin forms.
const (
	OriginNames     OriginForm = iota // those whose Host is an agent's name
	OriginAddresses                   // those whose Host a target declares, too: a front-end rewrites
)

// scrapePath starts the paths of path mode.
const scrapePath = "/scrape/"

// modeOf says what a request is, by its form, its Host and its path, as they
// came. Which credential it shows decides nothing but whose agents are asked
// about, so nobody can have a page of ours mean something else.
//
//	form      Host                                        path    it is
//	absolute  any                                         any     for a target
//	origin    ours                                        any     for us
//	origin    an agent's name, its token made out to it   any     for a target
//	origin    an agent's name, its token for a pattern    ours    for us
//	                                                      others  for a target
//	origin    what an agent declares, OriginForm names    ours    for us
//	                                                      others  refused: not ours, and perhaps a target's
//	origin    what an agent declares, addresses           any     for a target
//	origin    any other                                   any     for us
//
// If it is in doubt whether a request is for a target or for a page of ours that
// could look like a healthy target, it is neither, and the error says so.
func (e *Edge) modeOf(ctx context.Context, r *http.Request) (mode, *wire.Error) {
	if r.RequestURI == "" || r.RequestURI[0] != '/' {
		return proxyMode, nil
	}
	path := e.ownPath(r)
	ours := ownPage
	if strings.HasPrefix(path, scrapePath) {
		ours = pathMode
	}
	address, host := hostPort(r.Host)
	if address == "" || e.ownHost(r, host) {
		return ours, nil
	}
	who, failure := e.authenticate(r, tokensOf(r.Header, anyMode)...)
	if failure != nil && e.Auth == certificate.Either { // what is no token of ours may be for the target
		who, failure = e.byCertificate(r)
	}
	if failure != nil {
		return ours, nil // which will ask for a credential
	}
	switch e.claimTo(ctx, who.tenant, address, unmistakable(path)) {
	case wire.BoundName:
		return proxyMode, nil
	case wire.PatternName:
		if !unmistakable(path) {
			return proxyMode, nil
		}
	case wire.DeclaredAddress:
		if e.OriginForm == OriginAddresses {
			return proxyMode, nil
		}
		if !unmistakable(path) {
			return proxyMode, wire.Errorf(wire.TargetAmbiguous, "the Host %s is neither this relay's nor an agent's name, but some target declares it: "+
				"if a front-end rewrites proxy_url's requests, set FARSCRAPE_ORIGIN_FORM=addresses; if it is this relay, FARSCRAPE_PUBLIC_URL or FARSCRAPE_OWN_HOSTS", address)
		}
	}
	return ours, nil
}

// claimTo says what a Host is to a tenant. Whether a target declares it matters
// only where that would change what the request is.
func (e *Edge) claimTo(ctx context.Context, tenant, address string, unmistakable bool) wire.Claim {
	if unmistakable && e.OriginForm != OriginAddresses {
		return e.Scraper.ClaimToName(ctx, tenant, wire.HostOf(address))
	}
	return e.Scraper.ClaimToAddress(ctx, tenant, address)
}

// unmistakable reports whether a path is one of ours and hardly any target's.
// The metrics of ours are not among them.
func unmistakable(path string) bool {
	switch path {
	case "/sd", "/clients", wire.ConnectPath, wire.JoinPath:
		return true
	}
	return strings.HasPrefix(path, scrapePath) || strings.HasPrefix(path, "/-/") || strings.HasPrefix(path, "/api/")
}

// ownPath is the request's path, as it came, below the public URL's: front-ends
// may or may not have cut that off.
func (e *Edge) ownPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if e.prefix != "" {
		if below, ok := strings.CutPrefix(path, e.prefix); ok && strings.HasPrefix(below, "/") {
			return below
		}
	}
	return path
}

// ownHost reports whether a host can only mean the relay itself: one of its
// names, the address that the connection came to or, unless a front-end may have
// put a target's there, any IP address: nginx, left alone, sends the upstream's.
func (e *Edge) ownHost(r *http.Request, host string) bool {
	if e.OwnHosts.Has(host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || e.OriginForm != OriginAddresses {
		return err == nil
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	to, err := netip.ParseAddrPort(local.String())
	return err == nil && to.Addr().Unmap() == ip.Unmap()
}

// hostPort normalizes a Host: lower case, port 80 if it has none. Both are empty
// if it is not one.
func hostPort(s string) (address, host string) {
	s = lower(s)
	host, port, err := net.SplitHostPort(s)
	if err != nil { // without a port
		host, port = s, "80"
		if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
			host = s[1 : len(s)-1]
		}
	}
	host = strings.TrimSuffix(host, ".")
	if port == "" {
		port = "80"
	}
	address = net.JoinHostPort(host, port)
	if wire.CheckAddress(address) != nil {
		return "", ""
	}
	return address, host
}

// lower folds ASCII to lower case, and nothing else: what other letters fold to
// is no DNS name's business.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return s
		}
	}
	return strings.ToLower(s)
}
