package relay_test

import (
	"context"
	"errors"
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

func (away) Register(context.Context, wire.Lease) (uint64, error) { return 0, errAway }

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
