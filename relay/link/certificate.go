package link

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// identify says who an agent is by what it shows. cert is nil where its certificate does
// not count. A token that is shown where either counts is judged as one: a certificate
// beside it would cover up that it has ended, and may be for more.
func (t *Links) identify(req *http.Request) (c token.Claims, cert *certificate.Credential, refused *refusal) {
	_, withToken := bearer(req)
	if t.Auth == certificate.Certificate || t.Auth == certificate.Either && !withToken {
		cert, refused = t.byCertificate(req)
		return cert.Claims, cert, refused
	}
	c, refused = t.byToken(req)
	if refused != nil || t.Auth != certificate.Both {
		return c, nil, refused
	}
	if cert, refused = t.byCertificate(req); refused == nil && cert.Tenant != c.Tenant {
		refused = forbidden(token.ErrName, "the token is of another tenant than the client certificate")
	}
	return c, cert, refused
}

// byCertificate is what the certificate says that an agent shows: the one that this
// relay's own TLS has verified, and none that a front tells of.
func (t *Links) byCertificate(req *http.Request) (*certificate.Credential, *refusal) {
	name := strings.ToLower(req.Header.Get(wire.HeaderAgent))
	if wire.CheckAgentName(name) != nil { // which is told later, and not quoted here
		name = ""
	}
	cert, err := t.Certificates.Agent(req.TLS, name, time.Now())
	switch {
	case err == nil:
		return cert, nil
	case certificate.AnotherWouldDo(err):
		return cert, unauthorized(err, err.Error()+": "+t.mendCertificate(err))
	}
	return cert, forbidden(err, err.Error())
}

// mendCertificate is what to do without a good one.
func (t *Links) mendCertificate(err error) string {
	if !errors.Is(err, certificate.ErrMissing) {
		return certificate.Mend
	}
	mend := "set FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE to one of the relay's client CA, and let no front end TLS"
	if t.Auth == certificate.Either {
		mend = "set FARSCRAPE_TOKEN_FILE, or " + mend
	}
	return mend
}

// moveWithin is when to move a link whose certificate ends, from now on: after two thirds
// of what is left, as often as there is enough left. So a workload whose certificate is
// renewed in time, be it by halves of an hour, is on a link with the new one long before
// the old one ends; and who has no new one is not asked to move forever.
func moveWithin(left time.Duration) time.Duration {
	if left < leastLeft {
		return never
	}
	return left/3*2 - rand.N(left/10)
}

// leastLeft is what a certificate has left that is worth a move: agents take one within
// seconds, and a link that is younger than that is moved as one that fails.
const leastLeft = 30 * time.Second

// certificateEnds is when the link's certificate does; the zero time if it needs none.
func (l *Link) certificateEnds() time.Time {
	if l.cert == nil {
		return time.Time{}
	}
	return l.cert.Expires
}

// toldExpiry is when somebody must have given the agent another token, which ends as
// given, or another certificate.
func (l *Link) toldExpiry(token time.Time) time.Time {
	switch {
	case l.cert == nil:
		return token
	case l.claims.Key == certificate.Key:
		return l.cert.ToldExpiry()
	}
	return earlier(token, l.cert.ToldExpiry())
}

// earlier is the first of two ends, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// currentTrust is what certificates are held against now.
func (t *Links) currentTrust() certificate.Trust {
	if t.Certificates == nil {
		return certificate.Trust{}
	}
	return t.Certificates.Trust()
}

// unlist closes the link if a CA has taken its certificate back. It looks once at what
// holds at one time.
func (l *Link) unlist(by certificate.Trust) {
	l.mu.Lock()
	same := l.trusted == by
	l.trusted = by
	l.mu.Unlock()
	if same || l.cert == nil {
		return
	}
	if err := l.cert.Check(by, l.cert.Issued); errors.Is(err, certificate.ErrListed) {
		l.closeSaying(wire.CauseRevoked, err.Error())
	}
}

// removed says what was taken out of use that stood for what the agent has shown; empty:
// nothing was.
func (l *Link) removed(keys *token.Keyring) string {
	switch c := l.inForce(); {
	case c.Key != certificate.Key && !keys.Has(c.Key):
		return "key_removed"
	case errors.Is(l.certificateGone(time.Time{}), certificate.ErrOrphaned):
		return "ca_removed"
	}
	return ""
}

// expire closes the link whose token or certificate has ended, or lost its key.
func (l *Link) expire(now time.Time) {
	detail := ""
	if err := l.certificateGone(now); err != nil {
		detail = err.Error()
	}
	l.closeSaying(wire.CauseRevoked, detail)
}

// certificateGone is why the link's certificate is good no more; nil if it is, or if the
// link needs none.
func (l *Link) certificateGone(now time.Time) error {
	if l.cert == nil {
		return nil
	}
	return l.cert.Check(l.links.currentTrust(), now)
}
