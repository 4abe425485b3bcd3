package relay_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// life is that of the tokens in the tests of renewal.
const life = 30 * time.Minute

// offerWithin is when an agent is offered a token at the latest once that is due.
const offerWithin = 11 * time.Second

// renewable links an agent with a token that can be renewed, as it says it understands.
func (r *replica) renewable(change ...func(*token.Claims)) *agent {
	c := token.Claims{Role: token.Agent, Name: "edge", Expires: time.Now().Add(life), Renewable: true}
	for _, f := range change {
		f(&c)
	}
	return r.dial(dialOptions{token: r.mintToken(c), features: wire.AgentFeatures()})
}

// offered is what the TOKEN says that comes within offerWithin.
func (c *cluster) offered(a *agent) token.Claims {
	c.t.Helper()
	select {
	case f := <-a.frames:
		offer, err := wire.ParseToken(f.Payload)
		if err != nil || f.Type != wire.TypeToken {
			c.t.Fatalf("%v came: %v", f.Type, err)
		}
		claims, err := c.keys.Verify(offer.Token, time.Now())
		if err != nil {
			c.t.Fatal(err)
		}
		return claims
	case <-time.After(offerWithin):
		c.t.Fatal("no token is offered")
	}
	return token.Claims{}
}

// keeps says that the agent would come back with a token of these claims.
func (a *agent) keeps(c token.Claims) { a.says(wire.Kept{Key: c.Key, Taken: true}, c) }

func (a *agent) says(kept wire.Kept, c token.Claims) {
	if !c.Expires.IsZero() {
		kept.Expires = c.Expires.Unix()
	}
	a.send(wire.Frame{Type: wire.TypeKept, Payload: wire.MarshalControl(kept)})
	synctest.Wait()
}

// nothing checks that no frame comes for so long, and that the link stays.
func (a *agent) nothing(span time.Duration) {
	a.t.Helper()
	select {
	case f, open := <-a.frames:
		a.t.Fatalf("%v came, the link is open: %t, closed with %d", f.Type, open, a.status)
	case <-time.After(span):
	}
}

// expiry is when the directory says that the agent's token ends.
func (c *cluster) expiry() time.Time {
	c.t.Helper()
	a, err := c.directory.Lookup(c.t.Context(), wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge"})
	if err != nil || a == nil || len(a.Links) != 1 {
		c.t.Fatalf("the directory has %v, %v", a, err)
	}
	return a.Links[0].TokenExpiry
}

func TestATokenIsRenewedAtTwoThirdsOfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		a := c.replicas[0].renewable()
		first := c.expiry()
		a.nothing(life/3*2 - 2*time.Second)
		time.Sleep(2 * time.Second)
		fresh := c.offered(a)
		if fresh.Name != "edge" || fresh.Expires.Sub(fresh.Issued) != life {
			t.Errorf("the new token says %+v", fresh)
		}
		a.keeps(fresh)
		if got := c.expiry(); !got.Equal(fresh.Expires) {
			t.Errorf("the directory says %s, want %s", got, fresh.Expires)
		}
		a.nothing(time.Until(first) + time.Minute)
	})
}

func TestWhoTakesNoTokenIsOfferedAnotherAndEndsWithItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		a := c.replicas[0].renewable()
		time.Sleep(life / 3 * 2)
		for range 3 {
			c.offered(a)
			time.Sleep(50 * time.Second)
		}
		time.Sleep(life/3 - 4*time.Minute)
		go func() {
			for range a.frames { // more offers
			}
		}()
		a.closedWith(wire.CauseRevoked)
	})
}

func TestWhoHasJustTakenAnothersIsOfferedItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		a := c.replicas[0].renewable()
		time.Sleep(life / 3 * 2)
		other := c.offered(a)
		a.says(wire.Kept{Key: other.Key}, other)
		if got := c.expiry(); !got.Equal(other.Expires) {
			t.Errorf("the directory says %s, want %s", got, other.Expires)
		}
		time.Sleep(50 * time.Second)
		a.keeps(c.offered(a))
		a.nothing(life / 2)
	})
}

// Whoever has it may have made the token.
func TestAKeyThatIsTakenAwayRenewsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		var all []*agent
		for i := range 20 {
			name := fmt.Sprint("edge-", i)
			all = append(all, c.replicas[0].dial(dialOptions{name: name, features: wire.AgentFeatures(),
				token: c.replicas[0].mintToken(token.Claims{Role: token.Agent, Name: name, Expires: time.Now().Add(life), Renewable: true})}))
		}
		time.Sleep(time.Minute)
		c.setKeys("n")
		for _, a := range all {
			a.wantDrain("key_removed", time.Second)
			a.closedWith(wire.CauseRevoked)
		}
	})
}

// The agent would have nothing to show there.
func TestNoTokenIsOfferedThatAnotherReplicaWouldRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		a := c.replicas[0].renewable()
		c.lacks.Store(true)
		c.setKeys("nk")
		a.nothing(time.Minute)
		c.lacks.Store(false)
		time.Sleep(wire.Heartbeat) // when the link is looked at next, or a little later
		c.offered(a)
	})
}

func TestAKeyCanGoOnceNoAgentWouldComeBackWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		a := r.renewable()
		old := c.keys.Current().KeyIDs()[0]
		c.setKeys("nk")
		fresh := c.offered(a)
		key := c.keys.Current().KeyIDs()[0]
		if fresh.Key != key {
			t.Errorf("signed with %s, want %s", fresh.Key, key)
		}
		if n := r.LinksByKey(); n[old] != 1 || n[key] != 0 {
			t.Errorf("before the agent has it: links by key %v", n)
		}
		a.keeps(fresh)
		if n := r.LinksByKey(); n[old] != 0 || n[key] != 1 {
			t.Errorf("links by key %v", n)
		}
		c.setKeys("n")
		a.nothing(life / 2)
	})
}

// It goes on with the new one, but the old key is still needed.
func TestATokenInMemoryOnlyCountsForWhatItsAgentWouldComeBackWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		a := r.renewable()
		old, ends := c.keys.Current().KeyIDs()[0], c.expiry()
		c.setKeys("nk")
		c.offered(a)
		a.keeps(token.Claims{Key: old, Expires: ends})
		if n := r.LinksByKey(); n[old] != 1 || !c.expiry().Equal(ends) {
			t.Errorf("links by key %v, and the token ends at %s", n, c.expiry())
		}
		a.nothing(life/3*2 - time.Minute)
		c.setKeys("n")
		a.nothing(10 * time.Second) // by the token in memory it may stay
	})
}

func TestWhatAnAgentKeepsIsHeardOnceAnOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		a := c.replicas[0].renewable()
		key, ends := c.keys.Current().KeyIDs()[0], time.Now().Add(time.Hour).Truncate(time.Second)
		a.keeps(token.Claims{Key: key, Expires: ends}) // after WELCOME: it shows one that it has in memory
		for range 100 {
			a.keeps(token.Claims{Key: key, Expires: ends.Add(time.Hour)})
		}
		if got := c.expiry(); !got.Equal(ends) {
			t.Errorf("the directory says %s, want %s", got, ends)
		}
	})
}

func TestNoTokenIsRenewedPastItsMostLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, func(c *relay.Config) { c.TokenMaxLife = life + 10*time.Minute })
		a := c.replicas[0].renewable()
		start := time.Now()
		time.Sleep(life / 3 * 2)
		last := c.offered(a)
		if want := start.Add(life + 10*time.Minute); want.Sub(last.Expires).Abs() > time.Second {
			t.Errorf("it ends at %s, want %s", last.Expires, want)
		}
		a.keeps(last)
		a.nothing(time.Until(last.Expires) - time.Second)
		a.closedWith(wire.CauseRevoked)
	})
}

func TestOnlyWhoCanTakeATokenIsOfferedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		older := r.dial(dialOptions{name: "older", token: r.mintToken(token.Claims{Role: token.Agent, Name: "older", Expires: time.Now().Add(life), Renewable: true})})
		unmarked := r.renewable(func(c *token.Claims) { c.Renewable = false })
		time.Sleep(life - time.Minute)
		older.nothing(0)
		unmarked.nothing(0)
	})
}
