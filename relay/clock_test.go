package relay_test

import (
	"testing"
	"time"
	"unsafe"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// stepped is t as it would read had the wall clock been set by d: what time.Time
// keeps of the monotonic one stays. There is no other way to such a time but to
// set the machine's clock.
func stepped(t time.Time, d time.Duration) time.Time {
	const hasMonotonic, nanosecondBits = 1 << 63, 30 // time.Time's own, of which the tests make sure
	wall := (*uint64)(unsafe.Pointer(&t))
	if *wall&hasMonotonic == 0 {
		panic("a time without monotonic clock")
	}
	*wall += uint64(d/time.Second) << nanosecondBits
	return t
}

func TestASteppedTimeIsWhatItSays(t *testing.T) {
	now := time.Now()
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		then := stepped(now, d)
		if wall := then.Round(0).Sub(now.Round(0)); wall != d || then.Sub(now) != 0 {
			t.Fatalf("stepped by %s, the wall clock moved by %s, the monotonic one by %s", d, wall, then.Sub(now))
		}
	}
}

func TestAStepOfTheWallClockIsNoSilence(t *testing.T) {
	for _, d := range []time.Duration{14 * time.Second, time.Hour, -time.Hour} {
		r := startCluster(t, 1, true).replicas[0]
		a := r.dial(dialOptions{})
		a.serve("up 1\n")
		r.Tend(stepped(time.Now(), d))
		wantBody(t, <-r.scrape(5*time.Second), "up 1\n")
		select {
		case <-a.closed:
			t.Errorf("stepped by %s, a live link closed with %d", d, a.status)
		default:
		}
	}
}

func TestATokenEndsWhenTheWallClockSaysSo(t *testing.T) {
	c := startCluster(t, 1, true)
	now := time.Now()
	short, _, err := c.keys.Current().Mint(token.Claims{Role: token.Agent, Name: "edge", Expires: now.Add(time.Minute)}, now)
	if err != nil {
		t.Fatal(err)
	}
	r := c.replicas[0]
	a := r.dial(dialOptions{token: short})
	r.Tend(now.Add(2 * time.Second))
	r.Tend(stepped(now.Add(12*time.Second), time.Hour)) // when the next PING is due
	a.closedWith(wire.CauseRevoked)
}

func TestASilentPeerIsNoticedWhateverTheWallClockSays(t *testing.T) {
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		r := startCluster(t, 1, true).replicas[0]
		a := r.dial(dialOptions{})
		r.Tend(stepped(time.Now().Add(wire.PeerTimeout+time.Second), d))
		select {
		case <-a.closed:
		case <-time.After(5 * time.Second):
			t.Errorf("stepped by %s, a dead link was kept", d)
		}
	}
}

// The round trip decides whether an agent that says nothing yet is spoken for.
func TestAStepOfTheWallClockIsNoRoundTrip(t *testing.T) {
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		r := startCluster(t, 1, true).replicas[0]
		r.dial(dialOptions{})
		r.Tend(stepped(time.Now().Add(2*time.Second), d)) // when PING is due
		for start := time.Now(); r.RoundTrips()[0] == 0 && time.Since(start) < 5*time.Second; {
			time.Sleep(time.Millisecond)
		}
		if got := r.RoundTrips()[0]; got > -time.Second || got < -3*time.Second {
			t.Errorf("stepped by %s, the round trip of a ping 2 s from now is %s", d, got)
		}
	}
}
