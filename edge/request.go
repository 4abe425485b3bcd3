package edge

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// ofFrontEnds reports whether a request's field is what the front-ends between the
// scraper and us have added. The time that is left we say ourselves.
func ofFrontEnds(name string) bool {
	switch name {
	case "Expect", "Forwarded", "Via", "X-Real-Ip", timeoutHeader:
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// forFrontEnds reports whether an answer's field is what front-ends would act on,
// nginx by answering with something of its own.
func forFrontEnds(name string) bool {
	return name == "X-Litespeed-Location" || hasAnyPrefix(name, "X-Accel-", "X-Sendfile", "X-Lighttpd-", "X-Reproxy-")
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

// targetHeader is the header that the target gets, in the order of names. Our
// credentials stay here, whatever field they are in; in path mode so does
// everything in Authorization and Cookie, which a browser sends for the origin,
// not for one target of it.
func (e *Edge) targetHeader(h http.Header, m mode, remaining time.Duration) ([]wire.Field, *wire.Error) {
	named := wire.NamedByConnection(h["Connection"]...)
	fields := make([]wire.Field, 0, len(h)+1)
	for name, values := range h {
		if !wire.Travels(name, named) || ofFrontEnds(name) || m == pathMode && (name == "Authorization" || name == "Cookie") {
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
