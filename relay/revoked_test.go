package relay_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// revokes has a replica's store say what is taken back: all that was issued so far, of
// these subjects. It returns how many links that closed.
func (r *replica) revokes(subjects ...wire.RevokedSubject) (closed int) {
	var all []wire.Revocation
	for _, s := range subjects {
		all = append(all, wire.Revocation{RevokedSubject: s, Before: time.Now().Unix() + 1, Made: 1})
	}
	for _, n := range r.Events().Revoked(wire.NewRevocations(all)) {
		closed += n
	}
	return closed
}

func ofAgent(name string) wire.RevokedSubject {
	return wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: wire.DefaultTenant, Name: name}
}

func (a *agent) isClosed() bool {
	select {
	case <-a.closed:
		return true
	default:
		return false
	}
}

func TestWhatIsTakenBackEndsLiveLinksAndNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		edge1 := r.mint(token.Agent, "edge-1")
		mine, pattern := r.dial(dialOptions{name: "edge-1", token: edge1}), r.dial(dialOptions{name: "edge-2", pattern: "*"})
		other, elsewhere := r.dial(dialOptions{name: "core-1"}), r.dial(dialOptions{name: "edge-1", tenant: "blue"})
		start := time.Now()
		if n := r.revokes(ofAgent("edge-*")); n != 2 {
			t.Errorf("%d links closed", n)
		}
		mine.closedWith(wire.CauseRevoked)
		pattern.closedWith(wire.CauseRevoked)
		if took := time.Since(start); took > time.Second || mine.reason != "revoked: the token has been taken back" {
			t.Errorf("closed after %s: %s", took, mine.reason)
		}
		_, resp, err := r.tryDial(dialOptions{name: "edge-1", token: edge1})
		if err == nil || resp.StatusCode != http.StatusUnauthorized || resp.Header.Get(wire.HeaderError) != "unauthorized" {
			t.Errorf("its token is taken again: %v %v", resp, err)
		}
		time.Sleep(time.Second) // into the next second of the wall clock: the command waits so long
		fresh := r.dial(dialOptions{name: "edge-1"})
		time.Sleep(time.Minute)
		for what, a := range map[string]*agent{"issued later": fresh, "another's": other, "another tenant's": elsewhere} {
			if a.isClosed() {
				t.Errorf("%s was closed with %d", what, a.status)
			}
		}
	})
}

// Until it is known what is taken back agents may be refused, and are told to come back.
func TestUntilItIsKnownWhatIsTakenBackAgentsMayBeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1, func(c *relay.Config) { c.Revoked = token.AwaitRevoked(true) }).replicas[0]
		_, resp, err := r.tryDial(dialOptions{})
		if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get(wire.HeaderError) != "bus_unavailable" || resp.Header.Get("Retry-After") != "5" {
			t.Errorf("%v %v", resp, err)
		}
		r.revokes()
		r.dial(dialOptions{})
	})
}

// The heartbeat sees to what nobody was told of.
func TestTheHeartbeatEndsWhatIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		revoked := token.NewRevoked()
		a := newCluster(t, 1, func(c *relay.Config) { c.Revoked = revoked }).replicas[0].dial(dialOptions{})
		time.Sleep(time.Minute)
		start := time.Now()
		revoked.SetListed(wire.NewRevocations([]wire.Revocation{{RevokedSubject: ofAgent("edge"), Before: wire.MaxBefore, Made: 1}}))
		a.closedWith(wire.CauseRevoked)
		if took := time.Since(start); took > link.Tick {
			t.Errorf("closed after %s", took)
		}
	})
}

// A peer that reads nothing and does not go is gone all the same.
func TestADeafAgentIsGoneWithinFiveSecondsOfItsTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		a := r.dial(dialOptions{})
		a.deaf(r)
		if n := r.revokes(ofAgent("edge")); n != 1 {
			t.Errorf("%d links closed", n)
		}
		wantReason(t, <-r.scrape(100*time.Millisecond), wire.AgentOffline)
		time.Sleep(2500 * time.Millisecond) // what a store takes to say so is the rest
		for _, n := range r.LinksByKey() {
			if n != 0 {
				t.Errorf("%d links", n)
			}
		}
	})
}

// A live link never outlives its revocation, whatever comes in which order: a dial, its
// HELLO, what is taken back and given again, and time.
func TestNoOrderOfEventsLetsALinkOutliveItsRevocation(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { outlive(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func outlive(t *testing.T, random *rand.Rand) {
	type peer struct {
		*agent
		options   dialOptions
		claims    token.Claims
		greeted   bool
		late      bool // it greeted when its token was dead
		mayBeGone bool // it was dead once
	}
	revoked := token.NewRevoked()
	c := newCluster(t, 1, func(conf *relay.Config) { conf.Revoked = revoked })
	r := c.replicas[0]
	isDead := func(p *peer) bool {
		_, dead := revoked.Now().Dead(p.claims, p.options.name)
		return dead
	}
	greet := func(p *peer) {
		p.greeted, p.late = true, isDead(p)
		if p.introduce(p.options); p.late {
			synctest.Wait() // before it is given again
		}
	}
	var peers []*peer
	var history []string
	note := func(format string, args ...any) { history = append(history, fmt.Sprintf(format, args...)) }
	names := []string{"edge-1", "edge-2", "core-1"}
	for range 40 {
		name := names[random.IntN(len(names))]
		switch random.IntN(5) {
		case 0: // somebody dials, and may say nothing yet
			p := &peer{options: dialOptions{name: name, mum: true, shared: true, instance: wire.NewID[wire.InstanceID](), targets: []wire.Target{}}}
			p.options.token = r.mint(token.Agent, name)
			p.claims, _ = c.keys.Verify(p.options.token, time.Now())
			var err error
			if p.agent, _, err = r.tryDial(p.options); err == nil {
				note("%d dials as %s", len(peers), name)
				peers = append(peers, p)
			}
		case 1, 2: // the first that has not goes on
			for i, p := range peers {
				if !p.greeted {
					note("%d greets", i)
					greet(p)
					break
				}
			}
		case 3:
			subjects := []wire.RevokedSubject{ofAgent(name)}
			if random.IntN(3) == 0 {
				subjects = nil
			}
			note("%v is taken back", subjects)
			if r.revokes(subjects...); random.IntN(2) == 0 {
				synctest.Wait()
			}
			for _, p := range peers {
				p.mayBeGone = p.mayBeGone || isDead(p)
			}
		case 4:
			time.Sleep(time.Duration(random.IntN(700)) * time.Millisecond)
		}
	}
	for _, p := range peers {
		if !p.greeted {
			greet(p)
		}
	}
	time.Sleep(3 * time.Second)
	for i, p := range peers {
		dead, gone, welcome := isDead(p), p.isClosed(), false
		for ; len(p.frames) > 0; <-p.frames {
			welcome = true // which is the first, before any other
		}
		if dead && !gone || gone && !p.mayBeGone || welcome && p.late {
			t.Fatalf("%d, %s: dead %t, gone %t with %d, welcome %t, after %q", i, p.options.name, dead, gone, p.status, welcome, history)
		}
	}
}
