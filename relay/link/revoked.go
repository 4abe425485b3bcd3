package link

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// errClosed ends the reading of a link that somebody has closed already.
var errClosed = errors.New("closed before it was welcomed")

// What is said of that to agents.
const (
	tokenTakenBack       = "the token has been taken back"
	certificateTakenBack = "the client certificate has been taken back" // as a token is, or by its CA
)

// refuseRevoked refuses a token or a certificate that has been taken back, or of which
// nobody can say whether it has.
func (t *Links) refuseRevoked(c token.Claims, cert *certificate.Credential, name string) *refusal {
	now := t.Revoked.Now()
	if cert != nil {
		if _, dead := now.Dead(cert.Claims, name); dead {
			return unauthorized(token.ErrRevoked, certificateTakenBack+": "+certificate.Mend)
		}
	}
	switch err := now.Check(c, name); {
	case errors.Is(err, token.ErrRevokedUnknown):
		return &refusal{http.StatusServiceUnavailable, wire.BusUnavailable, 5 * time.Second, unknownRevoked, token.CauseOf(err)}
	case err != nil:
		return unauthorized(err, fmt.Sprintf("the %v: mint another with farscrape-relay token", err))
	}
	return nil
}

const unknownRevoked = "FARSCRAPE_REVOKED_UNKNOWN=refuse, and redis has not said since this replica started what has been taken back; it lets in once it has"

// TakeBack closes the links whose tokens have been taken back by what is known now, and
// counts them by what took them. It looks at every link once. One that is being entered
// meanwhile looks itself, once it is in the table.
func (t *Links) TakeBack() map[wire.RevokedSubject]int {
	closed := make(map[wire.RevokedSubject]int)
	now := t.Revoked.Now()
	for _, l := range t.All() {
		if by, first := l.takeBack(now); first {
			closed[by]++
		}
	}
	return closed
}

// takeBack closes the link if its token or certificate is taken back, and says by what,
// and whether nobody had closed it. It looks once at what is known at one time.
func (l *Link) takeBack(now *token.TakenBack) (by wire.RevokedSubject, first bool) {
	if l.judged.Swap(now) == now {
		return by, false
	}
	by, what := l.dead(now)
	return by, what != "" && l.closeSaying(wire.CauseRevoked, what)
}

// dead says what of the link's is taken back, if anything, and by what.
func (l *Link) dead(now *token.TakenBack) (by wire.RevokedSubject, what string) {
	if l.cert != nil {
		if by, dead := now.Dead(l.cert.Claims, l.key.Agent); dead {
			return by, certificateTakenBack
		}
	}
	by, dead := now.Dead(l.claims, l.key.Agent)
	if !dead {
		return by, ""
	}
	return by, tokenTakenBack
}

// isClosed reports whether somebody has closed the link.
func (l *Link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase == closed
}
