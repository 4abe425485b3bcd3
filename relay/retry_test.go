package relay_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/wire"
)

func TestAnAgentThatStopsInTheMiddleCostsARetry(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, owner, edge *replica) {
		first := owner.dial(dialOptions{})
		done := edge.scrape(10 * time.Second)
		f, _ := first.request()
		second := c.replicas[1].dial(dialOptions{instance: first.instance, epoch: first.welcome.Epoch})
		second.serve("from the other")
		first.send(head(f), end(f, wire.Errorf(wire.Canceled, "stopped")))
		wantBody(t, <-done, "from the other")
	})
}

func TestALinkThatBreaksWhileNothingWasDeliveredCostsARetry(t *testing.T) {
	for name, before := range map[string]func(a *agent, f wire.Frame){
		"before HEAD": func(*agent, wire.Frame) {},
		"after HEAD":  func(a *agent, f wire.Frame) { a.send(head(f), reply(f, wire.TypeData, []byte("half"))) },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, c *cluster, owner, edge *replica) {
				first := owner.dial(dialOptions{})
				done := edge.scrape(10 * time.Second)
				f, _ := first.request()
				second := c.replicas[1].dial(dialOptions{instance: first.instance, epoch: first.welcome.Epoch})
				before(first, f)
				_ = first.conn.CloseNow()
				f, _ = second.request()
				if f.Attempt != 2 {
					t.Errorf("attempt %d", f.Attempt)
				}
				second.answer(f, "whole")
				wantBody(t, <-done, "whole")
			})
		})
	}
}

func TestALinkThatBreaksAfterDeliveryFailsTheBody(t *testing.T) {
	both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		done := edge.scrape(10 * time.Second)
		f, _ := a.request()
		a.send(head(f))
		for range 4 {
			for credit := 0; credit < 1; credit++ {
				a.send(reply(f, wire.TypeData, make([]byte, 4000)))
			}
		}
		if edge != owner { // the rest of the window comes after HEAD
			a.next(wire.TypeCredit)
		}
		for range 50 {
			a.send(reply(f, wire.TypeData, make([]byte, 4000)))
		}
		a.next(wire.TypeCredit) // it is being read
		_ = a.conn.CloseNow()
		got := <-done
		if got.answer == nil || got.err == nil || got.err.Reason != wire.AgentOffline {
			t.Errorf("answer %v, %v", got.answer, got.err)
		}
	})
}

func TestSilence(t *testing.T) {
	both := func(t *testing.T, f func(t *testing.T, c *cluster, owner, edge *replica)) {
		for name, i := range map[string]int{"local": 0, "bus": 1} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t, 2)
					f(t, c, c.replicas[0], c.replicas[i])
				})
			})
		}
	}
	t.Run("of the agent alone is agent_offline after half the time", func(t *testing.T) {
		both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
			a := owner.dial(dialOptions{})
			a.silence()
			start := time.Now()
			done := edge.scrape(10 * time.Second)
			a.request()
			wantReason(t, <-done, wire.AgentOffline)
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("took %s", took)
			}
			a.next(wire.TypeCancel)
			slow := edge.scrape(10 * time.Second)
			f, _ := a.request()
			time.Sleep(4 * time.Second) // starved, not dead
			a.answer(f, "late")
			wantBody(t, <-slow, "late")
		})
	})
	t.Run("of one link is made up for by the other", func(t *testing.T) {
		both(t, func(t *testing.T, c *cluster, owner, edge *replica) {
			a := owner.dial(dialOptions{})
			done := edge.scrape(10 * time.Second)
			a.request()
			a.silence()
			b := c.replicas[1].dial(dialOptions{instance: a.instance, epoch: a.welcome.Epoch})
			b.serve("from the other")
			wantBody(t, <-done, "from the other")
			a.next(wire.TypeCancel)
		})
	})
	t.Run("after ACK lasts until the deadline", func(t *testing.T) {
		both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
			a := owner.dial(dialOptions{})
			start := time.Now()
			done := edge.scrape(10 * time.Second)
			f, _ := a.request()
			a.send(reply(f, wire.TypeAck, nil))
			wantReason(t, <-done, wire.Deadline)
			if took := time.Since(start); took != 10*time.Second {
				t.Errorf("took %s", took)
			}
			a.next(wire.TypeCancel)
		})
	})
	t.Run("of an owner that is gone is found out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 2)
			a := c.replicas[0].dial(dialOptions{})
			a.serve("x")
			wantBody(t, <-c.replicas[1].scrape(time.Second), "x")
			c.replicas[0].bus.kill()
			start := time.Now()
			got := <-c.replicas[1].scrape(10 * time.Second)
			wantReason(t, got, wire.AgentOffline)
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("took %s", took)
			}
		})
	})
}

// slow is a directory whose look-ups take so long.
type slow struct {
	counted
	takes *atomic.Int64
}

func (d slow) Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error) {
	time.Sleep(time.Duration(d.takes.Load()))
	return d.counted.Lookup(ctx, k)
}

func TestAnAnswerThatComesWhileAnotherLinkIsLookedForCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var takes atomic.Int64
		c := newCluster(t, 3, func(conf *relay.Config) { conf.Directory = slow{conf.Directory.(counted), &takes} })
		edge := c.replicas[2]
		a := c.replicas[0].dial(dialOptions{})
		b := c.replicas[1].dial(dialOptions{instance: a.instance, epoch: a.welcome.Epoch})
		done := edge.scrape(10 * time.Second)
		asked, other := b, a
		var f wire.Frame
		select { // of links of one age, either
		case f = <-a.frames:
			asked, other = a, b
		case f = <-b.frames:
		}
		asked.answer(f, "warm")
		wantBody(t, <-done, "warm")

		takes.Store(int64(500 * time.Millisecond))
		done = edge.scrape(10 * time.Second)
		f, _ = asked.request()
		time.Sleep(700 * time.Millisecond) // past the patience, into the look-up
		asked.answer(f, "late, and here")
		wantBody(t, <-done, "late, and here")
		time.Sleep(time.Second)
		select {
		case f := <-other.frames:
			t.Errorf("the other link got a frame of type %v", f.Type)
		default:
		}
	})
}

func TestAStaleRouteCostsOneRetry(t *testing.T) {
	c := newCluster(t, 3)
	a := c.replicas[0].dial(dialOptions{})
	a.serve("first")
	wantBody(t, <-c.replicas[2].scrape(5*time.Second), "first")
	b := c.replicas[1].dial(dialOptions{instance: a.instance, epoch: a.welcome.Epoch})
	b.serve("second")
	a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})})
	a.closedWith(wire.CauseDrained)
	wantBody(t, <-c.replicas[2].scrape(5*time.Second), "second")
}

func TestAGapOnTheBusCostsARetry(t *testing.T) {
	c := newCluster(t, 2)
	a := c.replicas[0].dial(dialOptions{})
	done := c.replicas[1].scrape(5 * time.Second)
	f, _ := a.request()
	a.send(head(f))
	a.next(wire.TypeCredit)
	c.replicas[1].Events().Gap(c.replicas[0].Replica)
	a.next(wire.TypeCancel) // of the first attempt
	f, _ = a.request()      // over the same link: there is no other
	if f.Attempt != 2 {
		t.Errorf("attempt %d", f.Attempt)
	}
	a.answer(f, "whole")
	wantBody(t, <-done, "whole")
	a.serve("x")
	wantBody(t, <-c.replicas[1].scrape(5*time.Second), "x")
}

func TestAnOwnerThatDiesAfterItsAckCostsARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		a := c.replicas[0].dial(dialOptions{})
		done := c.replicas[2].scrape(10 * time.Second)
		f, _ := a.request()
		a.send(reply(f, wire.TypeAck, nil))
		time.Sleep(time.Second)
		b := c.replicas[1].dial(dialOptions{instance: a.instance, epoch: a.welcome.Epoch})
		b.serve("from the other")
		c.replicas[0].bus.kill()
		died := time.Now()
		c.replicas[2].Events().Unheard(c.replicas[0].Replica)
		wantBody(t, <-done, "from the other")
		if took := time.Since(died); took > 100*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
}

// An instance that dies takes both of its links with it, and the directory is
// late to know: the standby must be asked all the same.
func TestAStandbyIsAskedThoughBothLinksOfThePrimaryAreGone(t *testing.T) {
	c := newCluster(t, 3)
	primary := c.replicas[0].dial(dialOptions{shared: true})
	standby := c.replicas[2].dial(dialOptions{shared: true})
	standby.serve("standby")
	entry := wire.Entry{
		AgentKey: wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge"}, Instance: primary.instance, Epoch: primary.welcome.Epoch,
		Link: wire.NewID[wire.LinkID](), Replica: c.replicas[1].Replica, Shared: true, List: wire.NewTargetList([]wire.Target{{Name: "node"}}),
	}
	if _, err := c.directory.Register(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	done := c.replicas[0].scrape(10 * time.Second)
	primary.request()
	_ = primary.conn.CloseNow()
	wantBody(t, <-done, "standby")
}

// An agent whose links all refuse makes every scrape of it two.
func TestAnAgentThatRefusesLeavesTheRetriesOfOthers(t *testing.T) {
	r := newCluster(t, 1).replicas[0]
	refuse := func(a *agent) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for f := range a.frames {
				if f.Type == wire.TypeRequest {
					n := wire.Nack{Error: *wire.Errorf(wire.TooManyScrapes, "no"), Elsewhere: true}
					a.send(reply(f, wire.TypeNack, n.Append(nil)))
				}
			}
		}()
		t.Cleanup(func() { _ = a.conn.CloseNow(); <-done })
	}
	link := func(name string) (*agent, *agent) {
		first := r.dial(dialOptions{name: name})
		return first, r.dial(dialOptions{name: name, instance: first.instance, epoch: first.welcome.Epoch})
	}
	for _, a := range func() []*agent { a, b := link("hostile"); return []*agent{a, b} }() {
		refuse(a)
	}
	for range 1500 {
		wantReason(t, <-r.scrape(5*time.Second, func(s *wire.Scrape) { s.Agent = "hostile" }), wire.TooManyScrapes)
	}
	older, younger := link("edge")
	refuse(younger) // which is asked first
	older.serve("up 1\n")
	for range 100 {
		wantBody(t, <-r.scrape(5*time.Second), "up 1\n")
	}
}
