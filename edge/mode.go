package edge

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// A mode is what a request is.
type mode uint8

const (
	ownPage   mode = iota // one of our own endpoints
	pathMode              // GET /scrape/{agent}/{target}
	proxyMode             // GET http://{agent}:{port}/{path}, or what a front-end made of it
)

// scrapePath starts the paths of path mode.
const scrapePath = "/scrape/"

// modeOf says what a request is, by its bytes as they came. If in doubt it is a
// request for a target: to answer such a one with a page of our own could look
// like a healthy target.
func (e *Edge) modeOf(ctx context.Context, r *http.Request) mode {
	_, proxyCredential := r.Header["Proxy-Authorization"]
	switch {
	case r.RequestURI == "" || r.RequestURI[0] != '/', proxyCredential:
		return proxyMode
	case e.fronted(ctx, r):
		return proxyMode
	case strings.HasPrefix(e.ownPath(r), scrapePath):
		return pathMode
	}
	return ownPage
}

// fronted reports whether an origin-form request was a proxy-mode one before a
// front-end changed it: its Host is then an agent's. Someone who is known by
// Authorization only speaks to us: in proxy mode that field is the target's.
func (e *Edge) fronted(ctx context.Context, r *http.Request) bool {
	credential := tokenOf(r.Header)
	if credential == "" && !e.NoAuth {
		return false // as most are: nothing more is looked at
	}
	address, host := hostPort(r.Host)
	if address == "" || e.ownHost(host) {
		return false
	}
	who, err := e.authenticate(credential)
	return err == nil && e.Scraper.Knows(ctx, who.tenant, address)
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

// ownHost reports whether a host can only mean the relay itself: nginx, left
// alone, sends the upstream's address. Agents cannot have such names.
func (e *Edge) ownHost(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || host != "" && host == e.public {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
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
	if len(host) > 253 || wire.CheckAddress(address) != nil {
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
