package relay_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/wire"
)

func TestAnAddressThatMovedIsNotAskedAtItsOldTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		target := func(name, address string) wire.Target {
			return wire.Target{Name: name, Scheme: "http", Port: 80, Path: "/metrics", Address: address}
		}
		a := c.replicas[0].dial(dialOptions{targets: []wire.Target{target("one", "x:1"), target("two", "y:1")}})
		asked := func() string {
			done := c.replicas[1].scrape(5*time.Second, func(s *wire.Scrape) { s.Agent, s.Target, s.Host, s.Path = "", "", "x:1", "/metrics" })
			f, q := a.request()
			a.answer(f, "up 1\n")
			wantBody(t, <-done, "up 1\n")
			return q.Target
		}
		if got := asked(); got != "one" {
			t.Fatalf("target %s was asked", got)
		}
		frames, err := wire.MarshalTargets([]wire.Target{target("one", "y:1"), target("two", "x:1")})
		if err != nil {
			t.Fatal(err)
		}
		a.send(frames...)
		time.Sleep(2 * time.Second)
		if got := asked(); got != "two" {
			t.Errorf("target %s was asked at the address that is now two's", got)
		}
	})
}

// away is a directory that cannot be reached.
type away struct{ counted }

var errAway = errors.New("away")

func (away) Register(context.Context, wire.Entry) (uint64, error) { return 0, errAway }

func (away) Lookup(context.Context, wire.AgentKey) (*wire.Agent, error) { return nil, errAway }

func TestSourcesOfOneNameDoNotAlternateWhileTheDirectoryIsAway(t *testing.T) {
	for name, shared := range map[string]bool{"shared": true, "not shared": false} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1, func(c *relay.Config) { c.Directory = away{c.Directory.(counted)} })
			r := c.replicas[0]
			for _, body := range []string{"one", "two"} {
				r.dial(dialOptions{shared: shared}).serve(body)
			}
			first := <-r.scrape(5 * time.Second)
			for range 20 {
				wantBody(t, <-r.scrape(5*time.Second), string(first.body))
			}
		})
	}
}

// sometimesAway is a directory that can be taken away.
type sometimesAway struct {
	counted
	away *atomic.Bool
}

func (d sometimesAway) Register(ctx context.Context, l wire.Entry) (uint64, error) {
	if d.away.Load() {
		return 0, errAway
	}
	return d.counted.Register(ctx, l)
}

func (d sometimesAway) Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error) {
	if d.away.Load() {
		return nil, errAway
	}
	return d.counted.Lookup(ctx, k)
}

// While the directory is away nobody refuses a token for a pattern. It gets no
// scrape of an agent that another instance is known to hold, here or elsewhere,
// whether that one can be reached or not.
func TestAPatternsTokenTakesNothingWhileTheDirectoryIsAway(t *testing.T) {
	for name, shared := range map[string]bool{"shared": true, "not shared": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var gone atomic.Bool
				c := newCluster(t, 2, func(c *relay.Config) { c.Directory = sometimesAway{c.Directory.(counted), &gone} })
				here, there := c.replicas[0], c.replicas[1]
				intruder := dialOptions{pattern: "ed*", shared: shared}
				held := here.dial(dialOptions{shared: shared})
				held.serve("held")
				wantBody(t, <-there.scrape(5*time.Second), "held") // it remembers where
				gone.Store(true)
				here.dial(intruder).serve("intruder")
				there.dial(intruder).serve("intruder")
				for range 10 {
					wantBody(t, <-here.scrape(5*time.Second), "held")
					wantBody(t, <-there.scrape(5*time.Second), "held")
					time.Sleep(5 * time.Minute)
				}
				here.bus.kill()
				if got := <-there.scrape(5 * time.Second); got.err == nil {
					t.Errorf("%q was answered for an agent that cannot be reached", got.body)
				}
				gone.Store(false) // the entries are not yet written
				wantBody(t, <-here.scrape(5*time.Second), "held")

				gone.Store(true)
				for range 10 {
					intruder.name, intruder.instance = "edge2", wire.NewID[wire.InstanceID]()
					first := here.dial(intruder)
					first.serve("intruder")
					other := func(s *wire.Scrape) { s.Agent = "edge2" }
					wantBody(t, <-here.scrape(5*time.Second, other), "intruder") // nobody else is known
					own := here.dial(dialOptions{name: "edge2", shared: shared})
					own.serve("own")
					wantBody(t, <-here.scrape(5*time.Second, other), "own")
					for _, a := range []*agent{first, own} {
						_ = a.conn.CloseNow()
					}
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

// A link that only the agent knows to be lost stays in the directory until it is
// found dead.
func TestAnAgentThatCameBackIsScrapedThoughItsOldLinksAreStillThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		lost := c.replicas[0].dial(dialOptions{})
		again := dialOptions{instance: lost.instance, epoch: lost.welcome.Epoch}
		lost.silence()
		c.replicas[1].dial(again).silence()
		time.Sleep(time.Second)
		c.replicas[1].dial(again).serve("back")
		c.replicas[2].dial(again).serve("back")
		for i, edge := range c.replicas {
			for range 10 {
				start := time.Now()
				wantBody(t, <-edge.scrape(5*time.Second), "back")
				if took := time.Since(start); i > 0 && took > 100*time.Millisecond {
					t.Errorf("through replica %d after %s", i, took)
				}
			}
		}
	})
}

func TestWarmRoutesAskTheDirectoryNoMore(t *testing.T) {
	c := newCluster(t, 2)
	a := c.replicas[0].dial(dialOptions{})
	a.serve("x")
	for range 20 {
		wantBody(t, <-c.replicas[1].scrape(5*time.Second), "x")
	}
	if n := c.lookups(); n != 1 {
		t.Errorf("%d look-ups for 20 scrapes", n)
	}
}

func TestWhoIsUnknownAndWhoIsOffline(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, owner, edge *replica) {
		start := time.Now()
		wantReason(t, <-edge.scrape(10*time.Second), wire.AgentUnknown)
		a := owner.dial(dialOptions{})
		a.serve("x")
		time.Sleep(300 * time.Millisecond) // the answer "unknown" holds for 250 ms
		wantBody(t, <-edge.scrape(10*time.Second), "x")
		for _, change := range []func(*wire.Scrape){
			func(s *wire.Scrape) { s.Target = "nothing" },
			func(s *wire.Scrape) { s.Rest = "x" }, // not a subtree
			func(s *wire.Scrape) { s.Agent, s.Target, s.Host, s.Path = "", "", "edge:9999", "/metrics" },
		} {
			wantReason(t, <-edge.scrape(10*time.Second, change), wire.TargetNotDeclared)
		}
		for _, change := range []func(*wire.Scrape){
			func(s *wire.Scrape) { s.Tenant = "other" },
			func(s *wire.Scrape) { s.Allow = "core-*" },
			func(s *wire.Scrape) { s.Agent, s.Target, s.Host, s.Path = "", "", "nobody:9100", "/metrics" },
		} {
			wantReason(t, <-edge.scrape(10*time.Second, change), wire.AgentUnknown)
		}
		a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "stopping"})})
		a.closedWith(wire.CauseAgentStopped)
		for _, change := range []func(*wire.Scrape){
			func(*wire.Scrape) {},
			func(s *wire.Scrape) { s.Agent, s.Target, s.Host, s.Path = "", "", "edge:9100", "/metrics" },
		} {
			got := <-edge.scrape(10*time.Second, change)
			wantReason(t, got, wire.AgentOffline)
			if a := got.answer; a == nil || a.Agent != "edge" || a.Target != "node" {
				t.Errorf("whose scrape has failed: %+v", a)
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestProxyModeFindsAgentsByNameAndByAddress(t *testing.T) {
	c := newCluster(t, 2)
	targets := func(host string) []wire.Target {
		return []wire.Target{{Name: "db", Scheme: "http", Port: 9100, Path: "/metrics", Address: host + ".internal:9100"}, {Name: "x", Port: 1, Path: "/", Address: "both.internal:1"}}
	}
	c.replicas[0].dial(dialOptions{name: "a", targets: targets("db1")}).serve("a's")
	c.replicas[0].dial(dialOptions{name: "b", targets: targets("db2")}).serve("b's")
	proxy := func(host string) chan result {
		return c.replicas[1].scrape(5*time.Second, func(s *wire.Scrape) { s.Agent, s.Target, s.Host, s.Path = "", "", host, "/metrics" })
	}
	wantBody(t, <-proxy("db1.internal:9100"), "a's")
	wantBody(t, <-proxy("db2.internal:9100"), "b's")
	wantReason(t, <-proxy("both.internal:1"), wire.TargetAmbiguous)
	wantReason(t, <-proxy("db3.internal:9100"), wire.AgentUnknown)
	for address, want := range map[string]wire.Claim{"a:80": wire.BoundName, "db1.internal:9100": wire.DeclaredAddress, "db1.internal:9101": wire.Unclaimed, "relay.example.com:80": wire.Unclaimed} {
		if got := c.replicas[1].ClaimToAddress(context.Background(), wire.DefaultTenant, address); got != want {
			t.Errorf("%s is %v", address, got)
		}
		if c.replicas[1].ClaimToAddress(context.Background(), "other", address) != wire.Unclaimed {
			t.Errorf("another tenant knows %s", address)
		}
	}
}
