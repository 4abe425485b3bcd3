package edge

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// longURI is from which length on, in bytes, the names in a URI are copied out of
// it: they are kept as keys of what is remembered of a target, and would keep all
// of it.
const longURI = 1 << 10

// aim fills in which target the request means.
func (e *Edge) aim(s *wire.Scrape, r *http.Request, m mode) *wire.Error {
	_, s.Query, _ = strings.Cut(r.RequestURI, "?")
	if m == pathMode {
		failure := aimByPath(s, e.ownPath(r))
		if len(r.RequestURI) > longURI {
			s.Agent, s.Target = strings.Clone(s.Agent), strings.Clone(s.Target)
		}
		return failure
	}
	s.Query = cutScheme(s.Query)
	return e.aimByHost(s, r)
}

// aimByPath reads the path of path mode, as it came. Prometheus may have encoded
// the names, so each of the first two segments is decoded, once, and must then
// be a name; what follows them is the target's and stays as it is.
func aimByPath(s *wire.Scrape, path string) *wire.Error {
	agent, target, ok := strings.Cut(strings.TrimPrefix(path, scrapePath), "/")
	target, s.Rest, _ = strings.Cut(target, "/")
	if !ok {
		return wire.Errorf(wire.BadRequest, "the path must be /scrape/{agent}/{target}")
	}
	// Details do not quote what was sent: it may be a token in the wrong place.
	agent, err := url.PathUnescape(agent)
	if s.Agent = lower(agent); err != nil || wire.CheckAgentName(s.Agent) != nil {
		return wire.Errorf(wire.BadRequest, "the agent in the path is not a DNS name")
	}
	s.Target, err = url.PathUnescape(target)
	if err != nil || wire.CheckName("target", s.Target) != nil {
		return wire.Errorf(wire.BadRequest, "the target in the path is not a target's name")
	}
	if _, err = wire.CheckRest(s.Rest); err != nil { // the agent would refuse it
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	return nil
}

// aimByHost reads the target of proxy mode off Host and path.
func (e *Edge) aimByHost(s *wire.Scrape, r *http.Request) *wire.Error {
	origin := strings.HasPrefix(r.RequestURI, "/")
	if !origin && (r.URL.Scheme != "http" || r.URL.User != nil || r.URL.Host == "") {
		return wire.Errorf(wire.BadRequest, "the target must be http://host:port/path, without a user")
	}
	address, host := hostPort(r.Host)
	if address == "" {
		return wire.Errorf(wire.BadRequest, "the target must have a host, and a port from 1 to 65535")
	}
	// An address that some agent declared as its own may be an IP address.
	if e.OwnHosts.Has(host) {
		return wire.Errorf(wire.AgentUnknown, "%s is this relay: if a front-end stands before it that rewrites Host, use path mode", address)
	}
	s.Host = address
	s.Path, _, _ = strings.Cut(r.RequestURI, "?")
	if !origin {
		_, s.Path, _ = strings.Cut(s.Path, "://")
		if slash := strings.IndexByte(s.Path, '/'); slash >= 0 {
			s.Path = s.Path[slash:]
		} else {
			s.Path = "/"
		}
	}
	if _, err := wire.CheckPath(s.Path); err != nil {
		return wire.Errorf(wire.BadRequest, "%v", err)
	}
	return nil
}

// cutScheme takes PushProx's _scheme parameter out of a raw query and leaves
// every other byte as it is. The scheme comes from the target's declaration.
func cutScheme(query string) string {
	if !strings.Contains(query, "_scheme") {
		return query
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(pair, "="); name != "_scheme" {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}
