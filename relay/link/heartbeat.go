package link

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A beat is what the heartbeat keeps of a link. Only the heartbeat touches it,
// but sent, which the link's reader compares.
type beat struct {
	next    time.Time    // when to ping
	retire  time.Time    // when to drain by age; zero: never
	drained bool         // it was
	keyless time.Time    // since when the key of its token is not in use; zero: it is
	sent    atomic.Int64 // when the last ping was queued, by the replica's clock
}

// Tend pings links, closes those that are silent or whose token is good no more, and
// moves those that are old. It is called four times a second, by one goroutine: so
// an idle link costs no timer.
func (t *Links) Tend(now time.Time) {
	replicas := t.Directory.Replicas()
	keys := t.Keys.Current()
	for _, l := range t.All() {
		l.tend(now, replicas)
		l.keepKey(now, keys.Has(l.claims.Key))
	}
}

func (l *Link) tend(now time.Time, replicas int) {
	b := &l.beat
	if b.next.IsZero() {
		b.next = l.connected.Add(time.Duration(rand.Int64N(int64(time.Second)))) // soon, to learn the round trip
		if age := l.maxAge(); age > 0 {
			b.retire = l.connected.Add(age - time.Duration(rand.Int64N(int64(age)/10+1)))
		}
	}
	switch {
	case l.links.clock.at(now)-time.Duration(l.heard.Load()) > wire.PeerTimeout:
		l.close(wire.CauseTimeout)
	case !l.claims.Expires.IsZero() && now.After(l.claims.Expires):
		l.close(wire.CauseRevoked)
	case !now.Before(b.next):
		b.next = now.Add(jitter(wire.Heartbeat, 0.2))
		sent := int64(l.links.clock.at(now))
		b.sent.Store(sent)
		l.send(wire.Frame{Type: wire.TypePing, Payload: wire.Ping{Token: uint64(sent), Replicas: uint16(replicas)}.Append(nil)})
	}
	if !b.retire.IsZero() && now.After(b.retire) {
		b.retire = time.Time{}
		l.DrainOnce("max_age")
	}
}

// keyGrace is how long a link stays whose token's key was taken out of use: an
// agent that has a good token by now opens another meanwhile. With a heartbeat
// before and one after it, it fits into five seconds.
const keyGrace = 4 * time.Second

func (l *Link) keepKey(now time.Time, inUse bool) {
	b := &l.beat
	switch {
	case inUse:
		b.keyless = time.Time{}
	case b.keyless.IsZero():
		b.keyless = now
		l.Drain("key_removed", keyGrace)
	case now.Sub(b.keyless) >= keyGrace:
		l.close(wire.CauseRevoked)
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
