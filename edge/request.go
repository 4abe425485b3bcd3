package edge

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// notForTarget reports whether a request's field stops here: what is between the
// scraper and us, and what the front-ends in between have added.
func notForTarget(name string) bool {
	switch name {
	case "Host", "Content-Length", "Expect", "Forwarded", "Via", "X-Real-Ip", timeoutHeader:
		return true
	}
	return hopByHop(name) || strings.HasPrefix(name, wire.HeaderPrefix) || strings.HasPrefix(name, "X-Forwarded-")
}

// notFromTarget reports whether an answer's field stops here: what is between the
// target and us, and what front-ends would act on, nginx by answering with
// something of its own.
func notFromTarget(name string) bool {
	switch name {
	case "Content-Length", "X-Litespeed-Location":
		return true
	}
	return hopByHop(name) || hasAnyPrefix(name, wire.HeaderPrefix, "X-Accel-", "X-Sendfile", "X-Lighttpd-", "X-Reproxy-")
}

// speaksForOrigin reports whether an answer's field may hold for everything that
// shares its origin. In path mode that is all other targets and ourselves.
// Browsers learn new ones all the time, so it does unless it is known not to, or
// somebody's own, with an X.
func speaksForOrigin(name string) bool {
	switch name {
	case "X-Content-Type-Options", "X-Dns-Prefetch-Control", "X-Permitted-Cross-Domain-Policies", "X-Sourcemap", "X-Ua-Compatible", "X-Xss-Protection":
		return true
	}
	if hasAnyPrefix(name, "X-Content-Security-Policy", "X-Webkit-Csp") {
		return true
	}
	return !wire.EndToEnd(name) && !strings.HasPrefix(name, "X-")
}

func hasAnyPrefix(name string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// hopByHop reports whether a field concerns one connection only (RFC 9110,
// 7.6.1, and what proxies have added to it).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// connectionNames are the fields that a Connection field makes hop-by-hop.
func connectionNames(values []string) map[string]bool {
	var names map[string]bool
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			if names == nil {
				names = make(map[string]bool)
			}
			names[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return names
}

// targetHeader is the header that the target gets, in the order of names. Our
// credentials stay here, whatever field they are in; in path mode so does everything in Authorization and
// Cookie, which a browser sends for the origin, not for one target of it.
func (e *Edge) targetHeader(h http.Header, m mode, remaining time.Duration) ([]wire.Field, *wire.Error) {
	dropped := connectionNames(h["Connection"])
	fields := make([]wire.Field, 0, len(h)+1)
	for name, values := range h {
		if notForTarget(name) || dropped[name] || m == pathMode && (name == "Authorization" || name == "Cookie") {
			continue
		}
		for _, value := range values {
			if e.ours(value) {
				continue
			}
			fields = append(fields, wire.Field{Name: name, Value: value})
		}
	}
	slices.SortStableFunc(fields, func(a, b wire.Field) int { return strings.Compare(a.Name, b.Name) })
	fields = append(fields, wire.Field{Name: timeoutHeader, Value: formatSeconds(remaining)})
	if err := wire.FitHeader(fields); err != nil {
		return nil, wire.Errorf(wire.BadRequest, "%v", err)
	}
	return fields, nil
}
