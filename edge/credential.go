package edge

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A caller is who asks, as far as it matters.
type caller struct {
	tenant string
	allow  string // the pattern of agents it may scrape; empty: all
}

func (c caller) allows(agent string) bool {
	return c.allow == "" || wire.MatchGlob(c.allow, agent)
}

// authenticate takes the first of the tokens that a scraper may use.
func (e *Edge) authenticate(tokens ...string) (caller, *wire.Error) {
	if e.NoAuth {
		return caller{tenant: wire.DefaultTenant}, nil
	}
	var failure *wire.Error
	for _, t := range tokens {
		if t == "" {
			continue
		}
		claims, err := e.Keys.Verify(t, time.Now())
		switch {
		case err != nil:
			failure = wire.Errorf(wire.Unauthorized, "%v", err)
		case claims.Role != token.Scraper:
			return caller{}, wire.Errorf(wire.Forbidden, "this is the token of an agent: a scraper's is needed")
		default:
			return caller{tenant: claims.Tenant, allow: claims.Agents}, nil
		}
	}
	if failure == nil {
		failure = wire.Errorf(wire.Unauthorized, "a scraper's token is needed")
	}
	return caller{}, failure
}

// ours reports whether a text, such as a field's value, holds a token of ours,
// of any role, still valid or not: such a one goes no further than here.
func (e *Edge) ours(text string) bool { return e.Keys != nil && e.Keys.Within(text, time.Now()) }

// tokensOf are the tokens that a scrape may be authenticated by: in proxy mode
// Authorization belongs to the target.
func tokensOf(h http.Header, m mode) []string {
	if m == anyMode {
		return append(tokensOf(h, ownPage), tokensOf(h, proxyMode)...)
	}
	if m == proxyMode {
		return []string{tokenOf(h), credentialOf(h.Get("Proxy-Authorization"))}
	}
	return []string{tokenOf(h), credentialOf(h.Get("Authorization"))}
}

func tokenOf(h http.Header) string { return strings.TrimSpace(h.Get(wire.HeaderToken)) }

// credentialOf is the token in an Authorization or Proxy-Authorization field:
// Bearer's, one of Basic's two, or all there is.
func credentialOf(field string) string {
	scheme, value := field, ""
	if i := strings.IndexAny(field, " \t"); i >= 0 {
		scheme, value = field[:i], strings.TrimSpace(field[i:])
	}
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return value
	case strings.EqualFold(scheme, "Basic"):
		return basicToken(value)
	case value == "":
		// Service discovery of Prometheus 2.42, which Debian 12 has, leaves
		// the scheme out where the configuration does.
		return scheme
	}
	return ""
}

// basicToken is Basic's password, or its user name if only that looks like a
// token: OpenTelemetry's receiver sends xxxxx for the password in proxy_url.
func basicToken(value string) string {
	pair, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return ""
	}
	user, password, _ := strings.Cut(string(pair), ":")
	if !tokenShaped(password) && tokenShaped(user) {
		return user
	}
	return password
}

// tokenShaped reports whether a text has the three parts of a token.
func tokenShaped(s string) bool { return strings.Count(s, ".") == 2 && strings.HasPrefix(s, "eyJ") }

// warnOfRepeats says, once, that a scraper sends its token more than once. By
// http_headers Prometheus 3.13.5 sends one copy more with each scrape, until
// a server on the way refuses such a long header.
func (e *Edge) warnOfRepeats(r *http.Request) {
	if n := len(r.Header[wire.HeaderToken]); n > 1 {
		e.repeats.Do(func() {
			e.Logger.Warn("a scraper repeats its "+wire.HeaderToken+": if it is one more with each scrape, as of Prometheus 3.13.5, they will fail with 431; "+
				"put the token into the job's authorization, or in proxy mode into proxy_url", "copies", n, "remote_addr", r.RemoteAddr)
		})
	}
}

// challenge says how to authenticate.
func challenge(h http.Header, m mode) {
	name := "WWW-Authenticate"
	if m == proxyMode {
		name = "Proxy-Authenticate"
	}
	h[http.CanonicalHeaderKey(name)] = []string{`Bearer realm="farscrape"`, `Basic realm="farscrape"`}
}
