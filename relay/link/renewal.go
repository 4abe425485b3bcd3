package link

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A tenure is what an agent has to show for itself as time goes on. Guarded by the
// link's mu.
type tenure struct {
	inForce token.Claims // of the youngest token that it has taken; at first the upgrade's
	offered token.Claims // of one that it has not answered yet; no ID: none
	kept    wire.Kept    // what it would come back with
	mayTell bool         // it has yet to tell that, or to tell it anew
}

func newTenure(c token.Claims) tenure {
	kept := wire.Kept{Key: c.Key}
	if !c.Expires.IsZero() {
		kept.Expires = c.Expires.Unix()
	}
	return tenure{inForce: c, kept: kept, mayTell: c.Key != certificate.Key}
}

// inForce is what the agent's token says now.
func (l *Link) inForce() token.Claims {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tenure.inForce
}

// keyFor is the key that has to stay for the link to, and for the agent to come back.
func (l *Link) keyFor(keys *token.Keyring) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tenure
	if keys.Has(t.kept.Key) && t.kept.Key != keys.KeyIDs()[0] {
		return t.kept.Key
	}
	return t.inForce.Key
}

const (
	// renewSpread is over how long the links of a fleet are offered tokens that become
	// due at once, as when keys change: each costs the directory a write.
	renewSpread = 10 * time.Second
	// renewAgain is when to offer another to an agent that has not answered, or once
	// more where none could be made.
	renewAgain = time.Minute
)

// renew offers the agent a token in the place of its own if that is due, and says when
// to look again. Only the heartbeat calls it, and only while all replicas would take
// what it offers: the agent has no other then.
func (l *Link) renew(now time.Time, keys *token.Keyring) (due time.Duration) {
	b, at, c := &l.beat, l.links.clock.at(now), l.inForce()
	when := keys.RenewalDue(c)
	if l.isClosed() || when.IsZero() || !slices.Contains(l.hello.Features, wire.FeatureRenewal) {
		return never
	}
	switch due := later(at, when.Sub(now)); {
	case at < due:
		b.offer = 0
		return due
	case b.offer == 0:
		b.offer = at + rand.N(renewSpread)
	}
	if at < b.offer {
		return b.offer
	}
	b.offer = at + renewAgain
	if signed, claims, err := keys.Renew(c, now, l.links.TokenMaxLife); err == nil {
		l.offer(signed, claims)
	}
	return b.offer
}

func (l *Link) offer(signed string, claims token.Claims) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tenure.offered, l.tenure.mayTell = claims, true
	l.sendLocked(wire.Frame{Type: wire.TypeToken, Payload: wire.MarshalControl(wire.Token{Token: signed})})
}

// keptCame takes a KEPT. One that answers nothing is not heard, since each may cost the
// directory a write.
func (l *Link) keptCame(payload []byte) error {
	kept, err := wire.ParseKept(payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	t := &l.tenure
	heard, offered, taken := t.mayTell, t.offered.ID != "", kept.Taken && t.offered.ID != ""
	kept.Taken = false
	changed := t.kept != *kept
	if heard {
		if taken {
			t.inForce = t.offered
		}
		t.offered, t.kept, t.mayTell = token.Claims{}, *kept, false
	}
	c := t.inForce
	l.mu.Unlock()
	if !heard {
		l.owe(l.links.arrivals.lists.idle())
		return nil
	}
	if changed {
		l.links.Directory.Renewed(l.id, l.toldExpiry(kept.Expiry()))
	}
	written := keeps(*kept, c)
	if taken {
		l.links.metrics.renewed.WithLabelValues(where(written)).Inc()
		l.log.Info("token renewed", "token_id", c.ID, "key", c.Key, "expires", c.Expires, "kept", where(written))
	}
	if !written && (taken || !offered) {
		l.log.Warn("the agent keeps its token in memory only: started again it comes back with an older one",
			"older_key", kept.Key, "older_expires", kept.Expiry(), "mend", "give it a FARSCRAPE_STATE_DIR that it may write to")
	}
	return nil
}

// keeps reports whether an agent that would come back with one token has written down
// the one that it took, or one as good, which it was offered over another link.
func keeps(kept wire.Kept, taken token.Claims) bool {
	ends := kept.Expiry()
	return kept.Key == taken.Key && (ends.IsZero() || !taken.Expires.IsZero() && taken.Expires.Sub(ends) <= wire.RenewalsApart)
}

// where says where an agent keeps its token, for the log and the metric.
func where(written bool) string {
	if written {
		return "file"
	}
	return "memory"
}
