package token

import (
	"errors"
	"time"
)

// ErrNotRenewed is Renew's answer to a token that cannot be renewed, or that another
// would not outlive.
var ErrNotRenewed = errors.New("token cannot be renewed")

// ClockSkew is how far the clock of who mints may be ahead of a replica's. A token from
// further ahead was made by somebody who has the key and wants it to outlive something.
const ClockSkew = 5 * time.Minute

// RenewalDue is when a token is to be renewed: once another key than its own signs, or
// two thirds of its life are over, as with certificates, which leaves a third for
// whatever keeps its holder from the relay. The zero time: never, as of a token whose key
// is not in use: who has that key may have made it.
func (k *Keyring) RenewalDue(c Claims) time.Time {
	switch {
	case !c.Renewable || c.Issued.IsZero() || !k.Has(c.Key):
		return time.Time{}
	case c.Key != k.ids[0]:
		return c.Issued
	case c.Expires.IsZero():
		return time.Time{}
	}
	return c.Issued.Add(c.Expires.Sub(c.Issued) / 3 * 2)
}

// Renew makes another token for the holder of one: of the same ID, name and rights,
// never more, that lives as long from now on, but no longer than mostLife from when the
// first of them was made, if mostLife is not 0.
func (k *Keyring) Renew(c Claims, now time.Time, mostLife time.Duration) (token string, renewed Claims, err error) {
	ahead := now.Add(ClockSkew)
	if !c.Renewable || c.Issued.IsZero() || !k.Has(c.Key) || c.Issued.After(ahead) || c.First.After(ahead) {
		return "", Claims{}, ErrNotRenewed
	}
	renewed = c
	renewed.Issued = now.UTC().Truncate(time.Second)
	endless := c.Expires.IsZero()
	if !endless {
		renewed.Expires = renewed.Issued.Add(c.Expires.Sub(c.Issued))
	}
	if last := c.First.Add(mostLife); mostLife > 0 && (endless || renewed.Expires.After(last)) {
		renewed.Expires = last
	}
	gains := c.Key != k.ids[0] || !endless && renewed.Expires.After(c.Expires)
	if past := !renewed.Expires.IsZero() && !now.Before(renewed.Expires); past || !gains {
		return "", Claims{}, ErrNotRenewed
	}
	return k.sign(renewed)
}
