package agent

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/farscrape/farscrape/relay/wire"
)

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
		path, ok := plainPath(rest)
		if !ok {
			return nil, wire.Errorf(wire.TargetNotDeclared, "the path below target %s is not plain", t.Name)
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

// plainPath decodes an escaped relative path and reports whether it is one that
// stays where it is: not absolute, no dot segment in whatever disguise, and
// nothing that an HTTP message could not carry as it is.
func plainPath(rest string) (path string, ok bool) {
	path, err := url.PathUnescape(rest)
	if err != nil || strings.HasPrefix(path, "/") {
		return "", false
	}
	for _, c := range path {
		if c == '\\' || unicode.IsControl(c) || c == unicode.ReplacementChar {
			return "", false
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		name, _, _ := strings.Cut(segment, ";") // servlet containers drop parameters first
		if name == "." || name == ".." {
			return "", false
		}
	}
	// What Go would write differently from how it came is not passed on.
	u := url.URL{Path: "/" + path, RawPath: "/" + rest}
	return path, u.EscapedPath() == "/"+rest
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
