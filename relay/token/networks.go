package token

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxNetworks bounds the networks that a token is bound to: they are gone through with
// each use of it.
const maxNetworks = 16

// networks takes a list apart, of networks such as 10.0.0.0/8 or single addresses with
// commas between them.
func networks(list string) ([]netip.Prefix, error) {
	if list == "" {
		return nil, nil
	}
	parts := strings.Split(list, ",")
	if len(parts) > maxNetworks {
		return nil, fmt.Errorf("%d networks: at most %d", len(parts), maxNetworks)
	}
	all := make([]netip.Prefix, 0, len(parts))
	for _, part := range parts {
		part = strings.TrimSpace(part)
		n, err := netip.ParsePrefix(part)
		if err != nil {
			addr, bad := netip.ParseAddr(part)
			if bad != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("network %.64q: must be like 10.0.0.0/8, or an address", part)
			}
			n = netip.PrefixFrom(addr, addr.BitLen())
		}
		if n.Addr().Is4In6() {
			return nil, fmt.Errorf("network %.64q: write it as IPv4", part)
		}
		all = append(all, n.Masked())
	}
	return all, nil
}

// canonical is the list as tokens hold it.
func canonical(list string) (string, error) {
	all, err := networks(list)
	text := make([]string, len(all))
	for i, n := range all {
		text[i] = n.String()
	}
	return strings.Join(text, ","), err
}

// AllowsFrom reports whether the token may be shown from an address, with a port or
// without, as net/http has it.
func (c Claims) AllowsFrom(remoteAddr string) bool {
	if c.From == "" {
		return true
	}
	addr, err := netip.ParseAddr(remoteAddr)
	if err != nil {
		with, bad := netip.ParseAddrPort(remoteAddr)
		if bad != nil {
			return false
		}
		addr = with.Addr()
	}
	all, _ := networks(c.From)
	for _, n := range all {
		if n.Contains(addr.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}
