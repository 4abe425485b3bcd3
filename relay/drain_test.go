package relay_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/wire"
)

func TestALinkIsMovedByAge(t *testing.T) {
	for name, c := range map[string]struct{ cut, least, most time.Duration }{
		"FARSCRAPE_LINK_MAX_AGE":     {0, 9 * time.Minute, 10 * time.Minute},
		"that of a platform's cut":   {5 * time.Minute, 4 * time.Minute, 270 * time.Second},
		"and whichever comes sooner": {time.Hour, 9 * time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCluster(t, 1, func(c *relay.Config) { c.LinkMaxAge = 10 * time.Minute }).replicas[0]
				a := r.dial(dialOptions{cutAfter: c.cut})
				start := time.Now()
				a.wantDrain("max_age", 20*time.Minute)
				if took := time.Since(start); took < c.least-time.Second || took > c.most+time.Second {
					t.Errorf("told after %s", took)
				}
			})
		})
	}
}

func TestLinksAreGivenAwayUntilEveryReplicaHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		var agents []*agent
		for i := range 20 { // none on the third, which was away
			a := c.replicas[i%2].dial(dialOptions{name: fmt.Sprintf("edge%d", i)})
			agents = append(agents, a)
		}
		moved := make([]int, 3)
		for began := time.Now(); time.Since(began) < 5*time.Minute; time.Sleep(time.Second) {
			for i, a := range agents {
				select {
				case f := <-a.frames:
					d, err := wire.ParseDrain(f.Payload)
					if err != nil || d.Cause != "balance" {
						t.Fatalf("%v %+v, %v", f.Type, d, err)
					}
					moved[i%2]++
					next := c.replicas[2].dial(dialOptions{name: fmt.Sprintf("edge%d", i), instance: a.instance, epoch: a.welcome.Epoch})
					a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})})
					a.closedWith(wire.CauseDrained)
					agents[i] = next
				default:
				}
			}
		}
		if fmt.Sprint(moved) != "[3 3 0]" { // 7 are a share, and a tenth more is none
			t.Errorf("%v were given away", moved)
		}
	})
}

func (a *agent) wantDrain(cause string, within time.Duration) {
	a.t.Helper()
	select {
	case f := <-a.frames:
		d, err := wire.ParseDrain(f.Payload)
		if f.Type != wire.TypeDrain || err != nil || d.Cause != cause {
			a.t.Errorf("got %v %+v, %v", f.Type, d, err)
		}
	case <-time.After(within):
		a.t.Fatal("no DRAIN came")
	}
}

func TestDrainLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		leaving, staying := c.replicas[0], c.replicas[1]
		a := leaving.dial(dialOptions{})
		inFlight := leaving.scrape(10 * time.Second)
		held, _ := a.request()
		a.send(reply(held, wire.TypeAck, nil))

		start := time.Now()
		drained := make(chan struct{})
		go func() { leaving.Drain(context.Background()); close(drained) }()
		a.wantDrain("shutdown", time.Second)
		if leaving.Ready() || !leaving.Draining() || leaving.Refusing() {
			t.Error("draining, a replica is unready and answers")
		}
		if _, resp, err := leaving.tryDial(dialOptions{}); err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a draining replica answers an agent %v", resp)
		}
		b := staying.dial(dialOptions{instance: a.instance, epoch: a.welcome.Epoch, held: string(leaving.Replica)})
		b.serve("from the new link")
		a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})})
		time.Sleep(time.Second)
		for _, r := range c.replicas {
			wantBody(t, <-r.scrape(time.Second), "from the new link")
		}
		a.answer(held, "from the old one")
		wantBody(t, <-inFlight, "from the old one")
		a.closedWith(wire.CauseDrained)
		<-drained
		if took := time.Since(start); took > 8*time.Second || !leaving.Refusing() {
			t.Errorf("drained in %s, refusing %v", took, leaving.Refusing())
		}
	})
}

func TestAReplicaThatIsAloneWaitsOnlyForItsScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		a := r.dial(dialOptions{})
		done := r.scrape(10 * time.Second)
		f, _ := a.request()
		a.send(reply(f, wire.TypeAck, nil))
		start := time.Now()
		drained := make(chan struct{})
		go func() { r.Drain(context.Background()); close(drained) }()
		time.Sleep(time.Second)
		a.answer(f, "x")
		wantBody(t, <-done, "x")
		<-drained
		if took := time.Since(start); took > 1100*time.Millisecond {
			t.Errorf("drained in %s", took)
		}
	})
}

// TestAReplicaServesBeforeItIsReady: only load balancers wait for its store.
func TestAReplicaServesBeforeItIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := make(chan struct{})
		r := newCluster(t, 1, func(conf *relay.Config) { conf.StoreUp = up }).replicas[0]
		a := r.dial(dialOptions{})
		a.serve("x")
		wantBody(t, <-r.scrape(time.Second), "x")
		time.Sleep(time.Hour) // and links are kept alive
		if r.Ready() {
			t.Error("ready before its store")
		}
		wantBody(t, <-r.scrape(time.Second), "x")
		close(up)
		synctest.Wait()
		if !r.Ready() {
			t.Error("not ready after it")
		}
	})
}

func TestAReplicaDrainsBeforeItIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 2, func(conf *relay.Config) { conf.StoreUp = make(chan struct{}) }).replicas[0]
		a := r.dial(dialOptions{})
		drained := make(chan struct{})
		go func() { r.Drain(context.Background()); close(drained) }()
		a.wantDrain("shutdown", time.Second)
		<-drained
	})
}

// ignorant is a directory that cannot say who else there is.
type ignorant struct{ counted }

func (ignorant) Replicas() int              { return 1 }
func (ignorant) Alone(context.Context) bool { return false }

func TestAReplicaThatDoesNotKnowWhetherItIsAloneMovesItsLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, func(conf *relay.Config) { conf.Directory = ignorant{conf.Directory.(counted)} })
		a := c.replicas[0].dial(dialOptions{})
		drained := make(chan struct{})
		go func() { c.replicas[0].Drain(context.Background()); close(drained) }()
		a.wantDrain("shutdown", time.Second)
		<-drained
	})
}
