package edge

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A caller is who asks, as far as it matters.
type caller struct {
	tenant string
	allow  string // the pattern of agents it may scrape; empty: all
	shown  credential
}

// A credential is what a caller has shown, for the log: behind a balancer all have
// one address. What is not checked may be made up, but for its shape.
type credential struct {
	tenant, name, id, key string // of one that is checked
	checked               bool   // the key is one of ours, and it has signed the rest
	text                  string // of one that is not

	// cause is why none of those that were shown was taken; token.None: one was.
	cause token.Cause
}

// shownBy is what a token says of itself. c is what is known of it, if anything is.
func shownBy(t string, c token.Claims) credential {
	if c.ID != "" {
		return credential{tenant: c.Tenant, name: c.Name, id: c.ID, key: c.Key, checked: true}
	}
	return credential{text: t}
}

// attrs tells of a credential in a line of the log; nothing if none was shown. Only
// then is one read that is not checked: whoever guesses causes few lines.
func (c credential) attrs() []slog.Attr {
	id, key := c.id, c.key
	if !c.checked {
		id, key = token.Unchecked(c.text)
	}
	if id == "" {
		return nil
	}
	return []slog.Attr{slog.String("token_name", c.name), slog.String("token_id", id), slog.String("key", key), slog.Bool("token_checked", c.checked)}
}

// refused says which refusals of credentials are alike: those of one that nobody can
// make up have places in the log of their own, all others share theirs.
func (c credential) refused(of string, reason wire.Reason) quietKey {
	key := quietKey{of: of, reason: reason}
	if c.checked {
		key.Tenant, key.Agent = c.tenant, c.id
	}
	return key
}

func (c caller) allows(agent string) bool {
	return c.allow == "" || wire.MatchGlob(c.allow, agent)
}

// admit is authenticate, once a token that is not good is counted and may be answered.
func (e *Edge) admit(r *http.Request, tokens ...string) (caller, *wire.Error) {
	who, failure := e.authenticate(r, tokens...)
	if failure != nil {
		e.Scraper.CountRefused(token.Scraper, who.shown.cause)
	}
	if failure != nil && failure.Reason == wire.Unauthorized && slices.ContainsFunc(tokens, isShown) {
		e.Scraper.HoldRefused(r.Context(), e.client(r))
	}
	return who, failure
}

// authenticate says who asks, by the tokens that were shown, the connection's
// certificate, or both.
func (e *Edge) authenticate(r *http.Request, tokens ...string) (caller, *wire.Error) {
	switch {
	case e.NoAuth:
		return caller{tenant: wire.DefaultTenant}, nil
	case e.Auth == certificate.Certificate, e.Auth == certificate.Either && !slices.ContainsFunc(tokens, isShown):
		return e.byCertificate(r)
	}
	who, failure := e.byToken(r, tokens...)
	if failure == nil && e.Auth == certificate.Both {
		who.shown.cause, failure = e.alsoByCertificate(r, who)
	}
	return who, failure
}

func isShown(token string) bool { return token != "" }

// byToken takes the first of the tokens that a scraper may use.
func (e *Edge) byToken(r *http.Request, tokens ...string) (caller, *wire.Error) {
	var failure *wire.Error
	var who caller
	for _, t := range tokens {
		if t == "" {
			continue
		}
		now := time.Now()
		claims, err := e.Keys.Verify(t, now)
		if !who.shown.checked {
			who.shown = shownBy(t, claims)
		}
		if err == nil {
			err = e.check(r, claims)
		}
		who.shown.cause = token.CauseOf(err)
		if err == nil {
			e.scrapers.note(claims, now)
			who.tenant, who.allow = claims.Tenant, claims.Agents
			return who, nil
		}
		if failure = e.refusal(r, claims, err); failure.Reason == wire.Forbidden {
			return who, failure
		}
	}
	if failure == nil {
		who.shown.cause = token.CauseOf(token.ErrNotShown)
		failure = wire.Errorf(wire.Unauthorized, "a scraper's token is needed, as Authorization: Bearer TOKEN (one in the URL does not count): %s", mintScrapers)
	}
	return who, failure
}

// check says why a token is not taken though it verifies.
func (e *Edge) check(r *http.Request, c token.Claims) error {
	switch {
	case c.Role != token.Scraper:
		return token.ErrRole
	case c.From != "" && !c.AllowsFrom(e.client(r)):
		return token.ErrNetwork
	}
	return e.Revoked.Now().Check(c, c.Name)
}

// refusal is what the holder of a token reads that is not taken for that error.
func (e *Edge) refusal(r *http.Request, c token.Claims, err error) *wire.Error {
	switch {
	case errors.Is(err, token.ErrRole):
		is := "the token of an agent"
		if c.Role == token.Join {
			is = "a token to join by"
		}
		return wire.Errorf(wire.Forbidden, "this is %s, and a scraper's is needed: %s", is, mintScrapers)
	case errors.Is(err, token.ErrNetwork):
		return wire.Errorf(wire.Forbidden, "the token is for scrapers in %s, and this request comes from %s: if that is a load balancer, put it into FARSCRAPE_TRUSTED_PROXIES", c.From, e.client(r))
	case errors.Is(err, token.ErrRevokedUnknown):
		return wire.Errorf(wire.BusUnavailable, "FARSCRAPE_REVOKED_UNKNOWN=refuse, and redis has not said since this replica started what has been taken back; it lets in once it has: %v", err)
	case errors.Is(err, token.ErrRevoked):
		return wire.Errorf(wire.Unauthorized, "the %v: %s", err, mintScrapers)
	}
	return wire.Errorf(wire.Unauthorized, "%v: %s", err, mintScrapers)
}

// mintScrapers is the mend of a credential that is not taken.
const mintScrapers = "farscrape-relay token -scraper NAME makes one"

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
				"put the token into the job's authorization, or in proxy mode into proxy_url", "copies", n, "remote_addr", e.client(r))
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
