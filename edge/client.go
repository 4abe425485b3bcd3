package edge

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// client is the address that a request comes from, for the log, for shares and for
// tokens that are bound to networks: the peer's, with its port, or, where that is a
// trusted proxy, the one that it says it has the request from. What stands left of that
// in X-Forwarded-For the client may have made up.
func (e *Edge) client(r *http.Request) string {
	if len(e.TrustedProxies) == 0 || !e.trusted(r.RemoteAddr) {
		return r.RemoteAddr
	}
	at := r.RemoteAddr
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, ok := hopAddr(hop)
		if !ok {
			break
		}
		if at = addr.String(); !e.trustedAddr(addr) {
			break
		}
	}
	return at
}

// hopAddr is an address in X-Forwarded-For, where some proxies write the port, too.
func hopAddr(hop string) (addr netip.Addr, ok bool) {
	hop = strings.TrimSpace(hop)
	addr, err := netip.ParseAddr(hop)
	if err != nil {
		var with netip.AddrPort
		if with, err = netip.ParseAddrPort(hop); err == nil {
			addr = with.Addr()
		}
	}
	return addr.Unmap().WithZone(""), err == nil
}

// trusted reports whether a peer is one of TrustedProxies.
func (e *Edge) trusted(remoteAddr string) bool {
	peer, err := netip.ParseAddrPort(remoteAddr)
	return err == nil && e.trustedAddr(peer.Addr())
}

func (e *Edge) trustedAddr(addr netip.Addr) bool {
	return slices.ContainsFunc(e.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

// asClient is a request with its client's address as the peer's.
func (e *Edge) asClient(r *http.Request) *http.Request {
	from := e.client(r)
	if from == r.RemoteAddr {
		return r
	}
	r = r.WithContext(r.Context())
	r.RemoteAddr = from
	return r
}

// hostOf is an address without its port, if it has one.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
