package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
