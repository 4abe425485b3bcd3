package link

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A beat is what the heartbeat keeps of a link, its times by the replica's clock.
// Only the heartbeat touches it once the link is in the table, but sent, which the
// link's reader compares.
type beat struct {
	next    time.Duration // when to ping
	retire  time.Duration // when to drain by age, or before the certificate ends
	why     string        // which of the two
	revoke  time.Duration // when to close, since the key of its token, or its certificate's CA, is not in use
	drained bool          // it was
	offer   time.Duration // when a token that is due is to be offered; 0: not drawn
	sent    atomic.Int64  // when the last ping was queued
}

// startBeat says when what is due of every link is due of this one.
func (l *Link) startBeat() {
	b, connected := &l.beat, l.links.clock.at(l.connected)
	b.next = connected + rand.N(time.Second) // soon, to learn the round trip
	b.retire, b.revoke = never, never
	if age := l.maxAge(); age > 0 {
		b.retire = later(connected, age-rand.N(age/10+1))
	}
	b.why = "max_age"
	if ends := l.certificateEnds(); !ends.IsZero() {
		if due := later(connected, moveWithin(ends.Sub(l.connected))); due < b.retire {
			b.retire, b.why = due, "certificate_ends"
		}
	}
}

// Tend pings links, closes those that are silent or whose token is good no more, and
// moves those that are old. It is called with every [Tick], by one goroutine, and
// looks at those links only of which something is due: so an idle one costs no timer,
// and no processor time between its pings.
func (t *Links) Tend(now time.Time) {
	due := t.wheel.turnTo(t.clock.at(now))
	keys, revoked, trust := t.Keys.Current(), t.Revoked.Now(), t.currentTrust()
	if keys != t.keys || revoked != t.revoked || trust != t.trust { // any link's may be gone
		t.keys, t.revoked, t.trust, due = keys, revoked, trust, t.All()
	}
	replicas, renews := t.Directory.Replicas(), t.Directory.AllHave(keys.KeyIDs()[0])
	for _, l := range due {
		next := l.tend(now, keys, replicas)
		if renews {
			next = min(next, l.renew(now, keys))
		}
		t.wheel.move(l, next)
	}
}

// tend does what is due of the link, and says when more will be. What puts that off or
// forward later does not move the link, whether bytes that come or a wall clock that
// is set: with its next ping at the latest it is looked at, and put where it belongs.
func (l *Link) tend(now time.Time, keys *token.Keyring, replicas int) (due time.Duration) {
	b, at := &l.beat, l.links.clock.at(now)
	silent, expired := time.Duration(l.heard.Load())+wire.PeerTimeout, l.expiry(now)
	deaf := l.socket.deaf()
	l.keepKey(at, l.removed(keys))
	l.takeBack(l.links.Revoked.Now())
	l.unlist(l.links.currentTrust())
	switch {
	case at > silent:
		l.close(wire.CauseTimeout)
		return never
	case at > deaf:
		l.close(wire.CauseSlow)
		return never
	case at > expired, at >= b.revoke:
		l.expire(now)
		return never
	case at >= b.next:
		b.next = at + jitter(wire.Heartbeat, 0.2)
		l.ping(at, replicas)
	}
	if at > b.retire {
		b.retire = never
		l.DrainOnce(b.why)
	}
	return min(b.next, b.retire, b.revoke, silent, deaf, expired)
}

// expiry is when the link's token ends, or its certificate, by the replica's clock, as
// far as the wall clock tells now.
func (l *Link) expiry(now time.Time) time.Duration {
	expires := earlier(l.inForce().Expires, l.certificateEnds())
	if expires.IsZero() {
		return never
	}
	return later(l.links.clock.at(now), expires.Sub(now))
}

func (l *Link) ping(at time.Duration, replicas int) {
	l.beat.sent.Store(int64(at))
	l.send(wire.Frame{Type: wire.TypePing, Payload: wire.Ping{Token: uint64(at), Replicas: uint16(replicas)}.Append(nil)})
}

// keyGrace is how long a link stays whose token's key, or certificate's CA, was taken out
// of use: an agent that has another by now opens a link with it meanwhile. With a Tick
// before and one after it, it fits into five seconds.
const keyGrace = 4 * time.Second

// keepKey closes the link in a while if what stands for it was removed.
func (l *Link) keepKey(at time.Duration, removed string) {
	b := &l.beat
	switch {
	case removed == "":
		b.revoke = never
	case b.revoke == never:
		b.revoke = at + keyGrace
		l.Drain(removed, keyGrace)
	}
}

// maxAge is the age to move the link at: before FARSCRAPE_LINK_MAX_AGE, and
// before the agent has seen its links cut.
func (l *Link) maxAge() time.Duration {
	age := l.links.MaxAge
	cut := time.Duration(l.hello.CutAfterMillis) * time.Millisecond
	if cut < time.Second || age > 0 && age < cut {
		return age
	}
	if age > 0 {
		l.links.cutOnce.Do(func() {
			l.log.Warn("links are cut before FARSCRAPE_LINK_MAX_AGE: set it to less", "cut_at", cut, "max_age", age)
		})
	}
	return cut - cut/10
}

// DrainOnce drains the link unless that was done already.
func (l *Link) DrainOnce(cause string) bool {
	if l.beat.drained {
		return false
	}
	l.beat.drained = true
	l.record(wire.EventRotated, cause, "")
	l.Drain(cause, 0)
	return true
}

// Drain asks the agent to open its next link and give this one up.
func (l *Link) Drain(cause string, within time.Duration) {
	l.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: cause, WithinMillis: within.Milliseconds()})})
}

// jitter draws from d ± share of it.
func jitter(d time.Duration, share float64) time.Duration {
	return d + time.Duration((rand.Float64()*2-1)*share*float64(d))
}
