package agent

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// parseTargetURL reads a target's URL; one that ends in /* is a subtree. The
// path is always there and plain.
func parseTargetURL(s string) (u *url.URL, subtree bool, err error) {
	u, err = url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, false, fmt.Errorf("url: must be http://host:port/path, or https")
	}
	if u.User != nil {
		return nil, false, fmt.Errorf("url: must hold no user name: use basic_auth in FARSCRAPE_TARGETS_FILE")
	}
	if u.Fragment != "" || !plainQuery(u.RawQuery) {
		return nil, false, fmt.Errorf("url: holds a # or a character that no URL has")
	}
	if u.Path == "" {
		u.Path = "/metrics" // as Prometheus has it
	}
	if subtree = strings.HasSuffix(u.Path, "/*"); subtree {
		u.Path = strings.TrimSuffix(u.Path, "*")
		u.RawPath = strings.TrimSuffix(u.RawPath, "*")
	}
	if clean := path.Clean(u.Path); clean != u.Path && clean+"/" != u.Path {
		return nil, false, fmt.Errorf("url: write the path as %s", clean)
	}
	return u, subtree, nil
}

func portOf(u *url.URL) (uint16, error) {
	switch {
	case u.Port() != "":
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("url: port %s: must be 1 to 65535", u.Port())
		}
		return uint16(n), nil
	case u.Scheme == "https":
		return 443, nil
	}
	return 80, nil
}

// address is the URL that a request for t means. It cannot leave what t
// declares: another path needs a subtree, and nothing reaches another host.
func (t *target) address(rest, query string) (*url.URL, *wire.Error) {
	if rest == "" && query == "" {
		return t.url, nil // nobody changes a request's URL
	}
	u := *t.url
	if rest != "" {
		if !t.Subtree {
			return nil, wire.Errorf(wire.TargetNotDeclared, "target %s is one path, not a subtree: declare its URL with /* to scrape below it", t.Name)
		}
		path, err := wire.CheckRest(rest)
		if err != nil {
			return nil, wire.Errorf(wire.TargetNotDeclared, "below target %s: %v", t.Name, err)
		}
		u.RawPath = u.EscapedPath() + rest
		u.Path += path
	}
	if !plainQuery(query) {
		return nil, wire.Errorf(wire.BadRequest, "the query holds a character that no query has")
	}
	if u.RawQuery != "" && query != "" {
		query = "&" + query
	}
	u.RawQuery += query
	return &u, nil
}

// plainQuery reports whether a raw query can stand in a request line as it is.
func plainQuery(query string) bool {
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}
