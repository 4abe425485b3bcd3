package certificate

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/token"
)

// A Credential is a verified certificate: what it says of its holder, and what stands
// for it. Its claims have the first 16 hex digits of the certificate's SHA-256 as their
// ID, and end with the first certificate of the chain that does.
type Credential struct {
	token.Claims
	chain []*x509.Certificate // its own first; TLS keeps them as long as the connection anyway
}

// Check says why the certificate is good no more: it is nil, ErrEnded, ErrListed or
// ErrOrphaned.
func (c *Credential) Check(by Trust, now time.Time) error {
	if !now.Before(c.Expires) {
		return fmt.Errorf("%w at %s", ErrEnded, c.Expires.Format(time.RFC3339))
	}
	return by.check(c.chain)
}

// shortLife is the life of certificates that no person renews: nobody is to be told of
// their ends, which the alerts on tokens look for two weeks ahead. What a person, or a
// public CA, makes lives for longer.
const shortLife = 35 * 24 * time.Hour

// ToldExpiry is when somebody must have seen to it that the certificate is another; the
// zero time if a machine will.
func (c *Credential) ToldExpiry() time.Time {
	if c.Expires.Sub(c.Issued) < shortLife {
		return time.Time{}
	}
	return c.Expires
}

// ends is when the first certificate of a chain ends.
func ends(chain []*x509.Certificate) (first time.Time) {
	for _, c := range chain {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first.UTC()
}
