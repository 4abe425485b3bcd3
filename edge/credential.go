package edge

import (
	"encoding/base64"
	"errors"
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

// ours reports whether a field's value is a token of ours, of any role, still
// valid or not: such a one goes no further than here.
func (e *Edge) ours(field string) bool {
	t := credentialOf(field)
	if t == "" || e.Keys == nil {
		return false
	}
	_, err := e.Keys.Verify(t, time.Now())
	return err == nil || errors.Is(err, token.ErrExpired)
}

// tokensOf are the tokens that a scrape may be authenticated by: in proxy mode
// Authorization belongs to the target.
func tokensOf(h http.Header, m mode) []string {
	if m == proxyMode {
		return []string{tokenOf(h), credentialOf(h.Get("Proxy-Authorization"))}
	}
	return []string{tokenOf(h), credentialOf(h.Get("Authorization"))}
}

func tokenOf(h http.Header) string { return strings.TrimSpace(h.Get(wire.HeaderToken)) }

// credentialOf is the token in an Authorization or Proxy-Authorization field:
// Bearer's, Basic's password, or all there is.
func credentialOf(field string) string {
	scheme, value, _ := strings.Cut(field, " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return value
	case strings.EqualFold(scheme, "Basic"):
		pair, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return ""
		}
		_, password, _ := strings.Cut(string(pair), ":")
		return password
	case value == "":
		// Service discovery of Prometheus 2.42, which Debian 12 has, leaves
		// the scheme out where the configuration does.
		return scheme
	}
	return ""
}

// warnOfRepeats says, once, that a scraper sends its token more than once. By
// http_headers Prometheus 3.13 to 3.15 sends one copy more with each scrape, until
// a server on the way refuses such a long header.
func (e *Edge) warnOfRepeats(r *http.Request) {
	if n := len(r.Header[wire.HeaderToken]); n > 1 {
		e.repeats.Do(func() {
			e.Logger.Warn("a scraper repeats its "+wire.HeaderToken+": if it is Prometheus 3.13 to 3.15, one more with each scrape, and they will fail with 431; "+
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
