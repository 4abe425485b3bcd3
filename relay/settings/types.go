package settings

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// Bytes is a size that a person writes as 256MiB, 10MB or 1024.
type Bytes int64

// UnmarshalText reads a whole number and a unit: none or B, kB, MB, GB, KiB,
// MiB, GiB.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	digits := strings.TrimRight(s, "BbKkMmGgi ")
	unit := strings.TrimSpace(s[len(digits):])
	factor, ok := map[string]int64{
		"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
	}[strings.ToLower(unit)]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 || n > math.MaxInt64/factor {
		return fmt.Errorf("must be a size, such as 256MiB or 10MB")
	}
	*b = Bytes(n * factor)
	return nil
}

// Prefixes is a list of networks, written as CIDRs or single addresses,
// separated by commas.
type Prefixes []netip.Prefix

// UnmarshalText reads the list.
func (p *Prefixes) UnmarshalText(text []byte) error {
	var all Prefixes
	for s := range strings.SplitSeq(string(text), ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			addr, bad := netip.ParseAddr(s)
			if bad != nil {
				return fmt.Errorf("%q must be a network, such as 10.0.0.0/8, or an address", s)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		all = append(all, prefix.Masked())
	}
	*p = all
	return nil
}

// Contains reports whether addr is in one of the networks. An IPv4 address
// mapped into IPv6 counts as IPv4.
func (p Prefixes) Contains(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
