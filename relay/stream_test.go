package relay_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestALegMayBeAbandonedWhileItsAgentSpeaks(t *testing.T) {
	c := newCluster(t, 2)
	owner, edge := c.replicas[0], c.replicas[1]
	a := owner.dial(dialOptions{})
	for range 20 {
		done := edge.scrape(5 * time.Second)
		f, _ := a.request()
		var both sync.WaitGroup
		both.Go(func() {
			a.send(head(f))
			for range 50 {
				a.send(reply(f, wire.TypeData, []byte("x")))
			}
			a.send(end(f, nil))
		})
		owner.Events().Unheard(edge.Replica)
		both.Wait()
		for waiting := true; waiting; {
			select {
			case f := <-a.frames:
				if f.Type == wire.TypeRequest { // the edge tries again
					a.answer(f, "x")
				}
			case <-done:
				waiting = false
			}
		}
	}
}

func TestALegOfAnAgentThatNeverEndsItIsForgotten(t *testing.T) {
	for name, i := range map[string]int{"local": 0, "bus": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 2)
				a := c.replicas[0].dial(dialOptions{})
				done := c.replicas[i].scrape(5 * time.Second)
				f, _ := a.request()
				a.send(reply(f, wire.TypeAck, nil))
				wantReason(t, <-done, wire.Deadline)
				time.Sleep(30 * time.Second)
				a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})})
				a.closedWith(wire.CauseDrained)
			})
		})
	}
}

func TestAnOverdueScrapeIsForgottenWhenItIsDue(t *testing.T) {
	for name, i := range map[string]int{"local": 0, "bus": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 2)
				a := c.replicas[0].dial(dialOptions{})
				for _, scrape := range []time.Duration{20 * time.Second, 5 * time.Second} {
					c.replicas[i].scrape(scrape)
				}
				var last time.Time
				for range 2 {
					f, q := a.request()
					a.send(reply(f, wire.TypeAck, nil))
					if due := time.Now().Add(q.Remaining + wire.ConfirmTimeout); due.After(last) {
						last = due
					}
				}
				time.Sleep(time.Second)
				a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})})
				a.closedWhen(last, wire.Silence)
				a.closedWith(wire.CauseDrained)
			})
		})
	}
}

// flood sends as many frames like f as fit messages so many times.
func (a *agent) flood(f wire.Frame, messages int) {
	batch := make([]wire.Frame, wire.MaxMessage/f.Size())
	for i := range batch {
		batch[i] = f
	}
	for range messages {
		a.send(batch...)
	}
}

func TestAnAgentCannotFillTheBus(t *testing.T) {
	for name, spam := range map[string]func(f wire.Frame) wire.Frame{
		"with DATA beyond its credit": func(f wire.Frame) wire.Frame { return reply(f, wire.TypeData, make([]byte, 16<<10)) },
		"with empty DATA":             func(f wire.Frame) wire.Frame { return reply(f, wire.TypeData, nil) },
		"with HEADs":                  func(f wire.Frame) wire.Frame { return head(f) },
		"with ACKs":                   func(f wire.Frame) wire.Frame { return reply(f, wire.TypeAck, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 2)
				owner, edge := c.replicas[0], c.replicas[1]
				a := owner.dial(dialOptions{})
				// The edge is deaf, as one that is behind.
				owner.bus.mu.Lock()
				owner.bus.drop = func(wire.ReplicaID, wire.Frame) bool { return true }
				owner.bus.mu.Unlock()
				done := edge.scrape(5 * time.Second)
				f, _ := a.request()
				a.send(head(f))
				a.flood(spam(f), 20)
				a.send(end(f, nil))
				<-done
				owner.bus.mu.Lock()
				sent := owner.bus.sent
				owner.bus.mu.Unlock()
				if sent > 10 {
					t.Errorf("%d frames went over the bus", sent)
				}
				if n := len(a.frames); n > 10 {
					t.Errorf("%d frames went to the agent", n)
				}
			})
		})
	}
}
