package wire

import (
	"maps"
	"net"
	"strings"
)

// Hosts are the relay's own: no agent is named so, none declares an address
// there, and a request in origin form to one of them is for the relay itself.
// localhost is always one of them. Read only, once made.
type Hosts map[string]bool

// NewHosts makes Hosts of host names, in any case and with or without a port or
// a trailing dot. Empty ones are left out.
func NewHosts(names ...string) Hosts {
	h := make(Hosts, len(names))
	for _, name := range names {
		if name = plainHost(name); name != "" {
			h[name] = true
		}
	}
	return h
}

// With returns the hosts and one more.
func (h Hosts) With(name string) Hosts {
	with := NewHosts(name)
	maps.Copy(with, h)
	return with
}

// Has reports whether a host, in lower case and without a port, is the relay's
// own.
func (h Hosts) Has(host string) bool {
	host = strings.TrimSuffix(host, ".")
	return h[host] || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// plainHost takes the port, the brackets and the final dot off a host.
func plainHost(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	return strings.TrimSuffix(strings.Trim(s, "[]"), ".")
}
