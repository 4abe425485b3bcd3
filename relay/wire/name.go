package wire

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DefaultTenant is the tenant of a token that names none.
const DefaultTenant = "default"

// CheckAgentName reports why an agent may not be called so. Names are DNS names
// in lower case (callers fold them first). An IP address, or a name that some
// resolver takes for one, and localhost are refused: a request with such a Host
// is for the relay itself.
func CheckAgentName(name string) error {
	if name == "" || len(name) > MaxHost {
		return fmt.Errorf("agent name of %d bytes: must have 1 to 253", len(name))
	}
	var last string
	for last = range strings.SplitSeq(name, ".") {
		if !dnsLabel(last) {
			return fmt.Errorf("agent name %q: not a DNS name in lower case", name)
		}
	}
	if last[0] >= '0' && last[0] <= '9' { // also hexadecimal
		if _, err := strconv.ParseUint(last, 0, 64); err == nil || allDigits(last) {
			return fmt.Errorf("agent name %q: reads as an IP address", name)
		}
	}
	if last == "localhost" {
		return fmt.Errorf("agent name %q: means this machine to every client", name)
	}
	return nil
}

func dnsLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		if c := l[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func allDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// CheckName reports why a target or a tenant may not be called so:
// [A-Za-z0-9_.-]{1,64}, not "." or "..".
func CheckName(what, name string) error {
	ok := name != "" && len(name) <= 64 && name != "." && name != ".."
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
	}
	if !ok {
		return fmt.Errorf("%s name %q: must be 1 to 64 of A-Z a-z 0-9 _ . -", what, name)
	}
	return nil
}

// CheckLabels reports why Prometheus, or Farscrape, would not take labels.
// Names are [a-zA-Z_][a-zA-Z0-9_]*: older Prometheus versions refuse a whole
// service-discovery answer for one that is not.
func CheckLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return fmt.Errorf("%d labels: %w", len(labels), ErrTooLarge)
	}
	for name, value := range labels {
		if !labelName(name) {
			return fmt.Errorf("label name %q: must match [a-zA-Z_][a-zA-Z0-9_]*", name)
		}
		if strings.HasPrefix(name, "__") {
			return fmt.Errorf("label name %q: names that start with __ are Prometheus's own", name)
		}
		if name == "agent" {
			return fmt.Errorf("label name %q: Farscrape sets it to the agent's name", name)
		}
		if !utf8.ValidString(value) {
			return fmt.Errorf("label %s: value is not UTF-8", name)
		}
	}
	return nil
}

func labelName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || i > 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}

// CheckTargets reports what is wrong with a target list: a bad or doubled name,
// a bad label, an address or a path that no request could name.
func CheckTargets(targets []Target) error {
	if len(targets) > MaxTargets {
		return fmt.Errorf("%d targets: %w", len(targets), ErrTooLarge)
	}
	seen := make(map[string]bool, len(targets))
	for i := range targets {
		t := &targets[i]
		if err := CheckName("target", t.Name); err != nil {
			return err
		}
		if seen[t.Name] {
			return fmt.Errorf("target %s: declared twice: rename one", t.Name)
		}
		seen[t.Name] = true
		if err := t.check(); err != nil {
			return fmt.Errorf("target %s: %w", t.Name, err)
		}
	}
	return nil
}

func (t *Target) check() error {
	if err := CheckLabels(t.Labels); err != nil {
		return err
	}
	if t.Address != "" {
		if err := CheckAddress(t.Address); err != nil {
			return err
		}
	}
	if t.Path != "" && t.Path[0] != '/' {
		return fmt.Errorf("path %q: must start with /", t.Path)
	}
	if t.Subtree && !strings.HasSuffix(t.Path, "/") {
		return fmt.Errorf("path %q: a subtree's must end with /", t.Path)
	}
	switch t.Scheme {
	case "", "http", "https":
		return nil
	}
	return fmt.Errorf("scheme %q: must be http or https", t.Scheme)
}

// CheckAddress reports why host:port cannot be a target's address in proxy
// mode: the host must be a name or an IP address, the port a number.
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	switch {
	case len(address) > MaxAddress || len(host) > MaxHost || len(port) > 5:
		return fmt.Errorf("address of %d bytes: %w", len(address), ErrTooLarge)
	case err != nil:
		return fmt.Errorf("address %q: must be host:port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q: bad port", address)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && address[0] == '[' == ip.Is6() && zone(ip.Zone()):
		return nil
	case err == nil || address[0] == '[':
		return fmt.Errorf("address %q: bad host", address)
	}
	for _, l := range strings.Split(strings.ToLower(host), ".") {
		if !dnsLabel(l) {
			return fmt.Errorf("address %q: bad host", address)
		}
	}
	return nil
}

// HostOf is the host of host:port, or all of it where there is no port.
func HostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// zone reports whether an IPv6 zone has only characters that a URL may hold as
// they are (RFC 6874): netip takes any.
func zone(z string) bool {
	for i := range len(z) {
		c := z[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._~-", c) >= 0) {
			return false
		}
	}
	return true
}

// MatchGlob reports whether an agent's name fits a token's name or pattern,
// where * stands for any run of characters and ? for one.
func MatchGlob(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// globs are the characters that make a name a pattern.
const globs = `*?[\`

// IsGlob reports whether a token's name is a pattern.
func IsGlob(name string) bool { return strings.ContainsAny(name, globs) }
