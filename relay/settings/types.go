package settings

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/alecthomas/units"
)

// Bytes is a size that a person writes as 256MiB, 10MB or 1024.
type Bytes int64

// UnmarshalText reads a number and its unit: kB, MB, GB are of 1000; KiB, MiB, GiB
// of 1024. A number alone counts bytes.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.ToUpper(strings.Join(strings.Fields(string(text)), ""))
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n, err = units.ParseStrictBytes(strings.Replace(s, "IB", "iB", 1))
	}
	if err != nil || n < 0 || n == math.MaxInt64 { // past int64 it is the one or the other
		return errors.New("must be a size, such as 256MiB or 10MB")
	}
	*b = Bytes(n)
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
