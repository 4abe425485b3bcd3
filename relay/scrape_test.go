package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/wire"
)

func TestASmallAnswerComesWhole(t *testing.T) {
	both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		done := edge.scrape(10*time.Second, func(s *wire.Scrape) {
			s.Query = "match[]=up&x=%20"
			s.Header = []wire.Field{{Name: "Accept", Value: "text/plain"}}
		})
		f, q := a.request()
		if q.Agent != "edge" || q.Target != "node" || q.Query != "match[]=up&x=%20" || len(q.Header) != 1 || q.Tenant != wire.DefaultTenant {
			t.Errorf("the agent is asked %+v", q)
		}
		if q.Remaining <= 9*time.Second || q.Remaining > 10*time.Second {
			t.Errorf("time remaining: %s", q.Remaining)
		}
		a.send(head(f, wire.Field{Name: "Content-Type", Value: "text/plain"}), reply(f, wire.TypeData, []byte("up 1\n")), end(f, nil))
		got := <-done
		wantBody(t, got, "up 1\n")
		if !got.answer.Whole || got.answer.Length != 5 || got.answer.Status != 200 || got.answer.Header[0].Value != "text/plain" {
			t.Errorf("answer %+v", got.answer)
		}
	})
}

func TestALargeAnswerFlowsWithinItsCredit(t *testing.T) {
	both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		done := edge.scrape(30 * time.Second)
		f, q := a.request()
		want := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
		go func() {
			a.send(head(f))
			left, credit := want, int(q.Credit)
			for len(left) > 0 {
				for credit == 0 {
					c := a.next(wire.TypeCredit)
					n, _ := wire.ParseCredit(c.Payload)
					credit += int(n)
				}
				n := min(len(left), credit, 30_000)
				a.send(reply(f, wire.TypeData, left[:n]))
				left, credit = left[n:], credit-n
			}
			a.send(end(f, nil))
		}()
		got := <-done
		if got.err != nil || !bytes.Equal(got.body, want) {
			t.Fatalf("%d bytes of %d, %v", len(got.body), len(want), got.err)
		}
		if got.answer.Whole || got.answer.Length != -1 {
			t.Errorf("whole %v, length %d: 5 MiB were held back", got.answer.Whole, got.answer.Length)
		}
	})
}

func TestBytesBeyondTheCreditAreNeverTaken(t *testing.T) {
	both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		answers := make(chan *wire.Answer, 1)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		go func() {
			answer, err := edge.Scrape(ctx, &wire.Scrape{Tenant: wire.DefaultTenant, Agent: "edge", Target: "node"})
			if err != nil {
				t.Error(err)
			}
			answers <- answer
		}()
		f, q := a.request()
		a.send(head(f))
		credit := int(q.Credit)
		if edge != owner {
			n, _ := wire.ParseCredit(a.next(wire.TypeCredit).Payload)
			credit += int(n)
		}
		piece := make([]byte, 16<<10)
		for sent := 0; sent < credit; sent += len(piece) {
			a.send(reply(f, wire.TypeData, piece))
		}
		answer := <-answers // it begins, since nothing more may come until it is read
		a.send(reply(f, wire.TypeData, piece))
		a.next(wire.TypeCancel)
		if _, err := io.ReadAll(answer.Body); err == nil || err.(*wire.Error).Reason != wire.AgentProtocol {
			t.Errorf("reading ended with %v", err)
		}
		_ = answer.Body.Close()
	})
}

func TestABodyOfAnotherLengthThanAnnouncedIsNoAnswer(t *testing.T) {
	both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		for _, length := range []string{"6", "4"} {
			done := edge.scrape(10 * time.Second)
			f, _ := a.request()
			a.send(head(f, wire.Field{Name: "Content-Length", Value: length}), reply(f, wire.TypeData, []byte("up 1\n")), end(f, nil))
			wantReason(t, <-done, wire.AgentProtocol)
		}
	})
}

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

func TestTheTargetsFailureIsFinal(t *testing.T) {
	both(t, func(t *testing.T, c *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		done := edge.scrape(10 * time.Second)
		f, _ := a.request()
		a.send(end(f, wire.Errorf(wire.TargetRefused, "connection refused")))
		got := <-done
		wantReason(t, got, wire.TargetRefused)
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

func TestAClientThatGoesAwayCancelsAtTheTarget(t *testing.T) {
	both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		errs := make(chan error, 1)
		go func() {
			_, err := edge.Scrape(ctx, &wire.Scrape{Tenant: wire.DefaultTenant, Agent: "edge", Target: "node"})
			errs <- err
		}()
		a.request()
		cancel()
		a.next(wire.TypeCancel)
		if err := <-errs; err.(*wire.Error).Reason != wire.Canceled {
			t.Errorf("got %v", err)
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

func TestAForgedRequestDoesNotCrossTenants(t *testing.T) {
	c := newCluster(t, 2)
	owner, edge := c.replicas[0], c.replicas[1]
	a := owner.dial(dialOptions{})
	for name, q := range map[string]wire.Request{
		"another tenant": {Link: a.welcome.Link, Tenant: "other", Agent: "edge", Target: "node", Remaining: time.Second},
		"another agent":  {Link: a.welcome.Link, Tenant: wire.DefaultTenant, Agent: "other", Target: "node", Remaining: time.Second},
	} {
		_ = edge.bus.Send(owner.Replica, wire.Frame{Type: wire.TypeRequest, Attempt: 1, Scrape: 9, Payload: q.Append(nil)})
		select {
		case f := <-a.frames:
			t.Errorf("%s: %v reached the agent", name, f.Type)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestFramesOfOthersScrapesAreDropped(t *testing.T) {
	c := newCluster(t, 3)
	a := c.replicas[0].dial(dialOptions{})
	done := c.replicas[1].scrape(5 * time.Second)
	f, _ := a.request()
	// A replica that does not hold the link, and an attempt that is not ours.
	for _, forged := range []wire.Frame{head(f), end(f, nil)} {
		_ = c.replicas[2].bus.Send(c.replicas[1].Replica, forged)
		forged.Attempt = 7
		a.send(forged)
	}
	a.answer(f, "true")
	a.send(end(f, nil), reply(f, wire.TypeData, []byte("late"))) // after the end
	wantBody(t, <-done, "true")
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

func TestExcessScrapesWaitForHalfTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, func(c *relay.Config) { c.MaxInflightTarget = 2; c.MaxInflightAgent = 3 })
		r := c.replicas[0]
		a := r.dial(dialOptions{})
		var held []wire.Frame
		var running []chan result
		for range 2 {
			running = append(running, r.scrape(time.Minute))
			f, _ := a.request()
			a.send(reply(f, wire.TypeAck, nil))
			held = append(held, f)
		}
		start := time.Now()
		wantReason(t, <-r.scrape(10*time.Second), wire.TooManyScrapes)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("429 after %s of 10 s", took)
		}
		waiting := r.scrape(10 * time.Second)
		a.answer(held[0], "first")
		wantBody(t, <-running[0], "first")
		f, _ := a.request()
		a.answer(f, "after waiting")
		wantBody(t, <-waiting, "after waiting")
		// Another target of the agent has places of its own, but one fewer.
		other := func(s *wire.Scrape) { s.Target = "app" }
		running = append(running, r.scrape(time.Minute, other), r.scrape(time.Minute, other))
		for range 2 {
			f, _ := a.request()
			a.send(reply(f, wire.TypeAck, nil))
			held = append(held, f)
		}
		wantReason(t, <-r.scrape(10*time.Second, other), wire.TooManyScrapes)
		for _, f := range held[1:] {
			a.answer(f, "late")
		}
		for _, done := range running[1:] {
			wantBody(t, <-done, "late")
		}
	})
}

func TestSlowAnswersLeaveRoomOnTheBus(t *testing.T) {
	c := newCluster(t, 2)
	owner, edge := c.replicas[0], c.replicas[1]
	slow := owner.dial(dialOptions{name: "slow"})
	fast := owner.dial(dialOptions{name: "fast"})
	fast.serve("fast")
	var held []wire.Frame
	var stuck []chan result
	for range 20 {
		stuck = append(stuck, edge.scrape(time.Minute, func(s *wire.Scrape) { s.Agent = "slow" }))
		f, _ := slow.request()
		slow.send(head(f), reply(f, wire.TypeData, make([]byte, 1000)))
		held = append(held, f)
	}
	done := edge.scrape(5*time.Second, func(s *wire.Scrape) { s.Agent = "fast" })
	wantBody(t, <-done, "fast")
	for i, f := range held {
		slow.send(end(f, nil))
		if got := <-stuck[i]; len(got.body) != 1000 {
			t.Errorf("a slow one came to %v", got.err)
		}
	}
}

func TestAnAnswerOfManySizes(t *testing.T) {
	for _, size := range []int{0, 1, 16 << 10, 16<<10 + 1, 64 << 10, 190 << 10, 256 << 10, 300 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
				a := owner.dial(dialOptions{})
				done := edge.scrape(10 * time.Second)
				f, q := a.request()
				go a.stream(f, int(q.Credit), make([]byte, size), 10_000)
				got := <-done
				if got.err != nil || len(got.body) != size {
					t.Errorf("%d bytes of %d, %v", len(got.body), size, got.err)
				}
				// Between the two it depends on who is faster.
				if got.answer.Whole && size > 256<<10 || !got.answer.Whole && size < 192<<10 {
					t.Errorf("whole: %v", got.answer.Whole)
				}
			})
		})
	}
}

// stream sends a whole answer in pieces, within its credit.
func (a *agent) stream(f wire.Frame, credit int, body []byte, piece int) {
	a.send(head(f))
	for len(body) > 0 {
		for credit == 0 {
			c, ok := <-a.frames
			if !ok || c.Type != wire.TypeCredit {
				return
			}
			n, _ := wire.ParseCredit(c.Payload)
			credit += int(n)
		}
		n := min(len(body), credit, piece)
		a.send(reply(f, wire.TypeData, body[:n]))
		body, credit = body[n:], credit-n
	}
	a.send(end(f, nil))
}

// An instance that dies takes both of its links with it, and the directory is
// late to know: the standby must be asked all the same.
func TestAStandbyIsAskedThoughBothLinksOfThePrimaryAreGone(t *testing.T) {
	c := newCluster(t, 3)
	primary := c.replicas[0].dial(dialOptions{shared: true})
	standby := c.replicas[2].dial(dialOptions{shared: true})
	standby.serve("standby")
	lease := wire.Lease{
		AgentKey: wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge"}, Instance: primary.instance, Epoch: primary.welcome.Epoch,
		Link: wire.NewID[wire.LinkID](), Replica: c.replicas[1].Replica, Shared: true, Targets: []wire.Target{{Name: "node"}},
	}
	if _, err := c.directory.Register(t.Context(), lease); err != nil {
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
