package relay_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// apart is how long after each other the agents of a crowd are linked: so that they
// come at any time between two ticks.
const apart = 37 * time.Millisecond

func (r *replica) crowd(n int) []*agent {
	var all []*agent
	for i := range n {
		all = append(all, r.dial(dialOptions{name: fmt.Sprintf("edge%d", i)}))
		time.Sleep(apart)
	}
	return all
}

func TestEveryLinkIsPingedInItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialed := time.Now()
		agents := newCluster(t, 1).replicas[0].crowd(200)
		time.Sleep(5 * time.Minute)
		for i, a := range agents {
			pings := a.pingTimes()
			if first := pings[0].Sub(dialed.Add(time.Duration(i) * apart)); first > time.Second+link.Tick {
				t.Errorf("%d was pinged %s after it was linked", i, first)
			}
			for j := range pings[1:] {
				if gap := pings[j+1].Sub(pings[j]); gap < wire.Heartbeat*4/5 || gap > wire.Heartbeat*6/5+link.Tick {
					t.Errorf("%d was pinged %s after the last time", i, gap)
				}
			}
			if last := time.Since(pings[len(pings)-1]); last > wire.Heartbeat*6/5+link.Tick {
				t.Errorf("%d was not pinged for %s", i, last)
			}
		}
	})
}

func TestSilenceIsFoundWithinATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agents := newCluster(t, 1).replicas[0].crowd(20)
		time.Sleep(time.Minute)
		for _, a := range agents {
			a.silence()
			pings := a.pingTimes()
			a.closedWhen(pings[len(pings)-1].Add(wire.PeerTimeout), link.Tick)
			time.Sleep(apart)
		}
	})
}

func TestWhateverComesIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newCluster(t, 1).replicas[0].dial(dialOptions{})
		a.silence()
		var last time.Time
		for range 10 {
			a.send(wire.Frame{Type: wire.FirstOptional + 99})
			last = time.Now()
			time.Sleep(13 * time.Second)
		}
		a.closedWhen(last.Add(wire.PeerTimeout), link.Tick)
	})
}

func TestALinkClosesWithinATickOfItsTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		expires := make(map[*agent]time.Time)
		var agents []*agent
		for i := range 20 {
			name := fmt.Sprintf("edge%d", i)
			ends := time.Now().Add(20*time.Second + time.Duration(i)*3700*time.Millisecond).Truncate(time.Second)
			short, _, err := c.keys.Current().Mint(token.Claims{Role: token.Agent, Name: name, Expires: ends}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(apart)
			a := c.replicas[0].dial(dialOptions{name: name, token: short})
			agents, expires[a] = append(agents, a), ends
		}
		for _, a := range agents {
			a.closedWhen(expires[a], link.Tick)
			a.closedWith(wire.CauseRevoked)
		}
	})
}

func TestALinkIsMovedWithinATickOfItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = 20 * time.Second
		r := newCluster(t, 1, func(c *relay.Config) { c.LinkMaxAge = age }).replicas[0]
		for range 10 {
			r.dial(dialOptions{}).wantDrain("max_age", age+link.Tick+time.Millisecond)
			time.Sleep(apart)
		}
	})
}

func TestAllLinksOfARemovedKeyAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		agents := c.replicas[0].crowd(200)
		time.Sleep(time.Minute)
		c.setKeys("n")
		start := time.Now()
		for _, a := range agents {
			a.wantDrain("key_removed", link.Tick)
		}
		if took := time.Since(start); took > link.Tick {
			t.Errorf("told after %s", took)
		}
		for _, a := range agents {
			a.closedWith(wire.CauseRevoked)
		}
		if took := time.Since(start); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("closed after %s", took)
		}
	})
}
