package relay_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/wire"
)

// A hanging directory answers no question while its gate is shut.
type hanging struct {
	counted
	gate  atomic.Pointer[chan struct{}] // nil: open
	lists atomic.Int64
	ended atomic.Int64 // lists that were given up
}

func (d *hanging) shut() (open func()) {
	gate := make(chan struct{})
	d.gate.Store(&gate)
	return func() { d.gate.Store(nil); close(gate) }
}

func (d *hanging) pass(ctx context.Context) error {
	gate := d.gate.Load()
	if gate == nil {
		return nil
	}
	select {
	case <-*gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *hanging) Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error) {
	if err := d.pass(ctx); err != nil {
		return nil, err
	}
	return d.counted.Lookup(ctx, k)
}

func (d *hanging) List(ctx context.Context, tenant string) ([]wire.Agent, error) {
	d.lists.Add(1)
	if err := d.pass(ctx); err != nil {
		d.ended.Add(1)
		return nil, err
	}
	return d.counted.List(ctx, tenant)
}

// withHanging gives the last replica of a cluster such a directory.
func withHanging(d *hanging) func(*relay.Config) {
	return func(c *relay.Config) {
		d.counted = c.Directory.(counted)
		c.Directory = d
	}
}

// What a Host is decides what a request is, so a directory that hangs must not
// hold the requests whose Host means nothing to us.
func TestAHostIsToldFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d hanging
		c := newCluster(t, 1, withHanging(&d))
		r := c.replicas[0]
		open := d.shut()
		claim := func() wire.Claim {
			return r.ClaimToName(t.Context(), wire.DefaultTenant, "relay.internal")
		}
		start := time.Now()
		if got := claim(); got != wire.Unclaimed || time.Since(start) > 250*time.Millisecond {
			t.Errorf("%v after %s", got, time.Since(start))
		}
		time.Sleep(5 * time.Second) // the question has failed
		start = time.Now()
		for range 100 {
			if got := claim(); got != wire.Unclaimed {
				t.Errorf("%v", got)
			}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("waited for %s", took)
		}
		open()
		register(t, c, "relay.internal", nil)
		time.Sleep(5 * time.Second)
		claim() // asks
		synctest.Wait()
		if got := claim(); got != wire.BoundName {
			t.Errorf("an agent of that name is %v", got)
		}
	})
}

// register enters an agent into the directory whose link is at no replica here.
func register(t *testing.T, c *cluster, name string, targets []wire.Target, change ...func(*wire.Entry)) {
	t.Helper()
	l := wire.Entry{AgentKey: wire.AgentKey{Tenant: wire.DefaultTenant, Agent: name}, Instance: wire.NewID[wire.InstanceID](),
		Link: wire.NewID[wire.LinkID](), Replica: wire.NewID[wire.ReplicaID](), Connected: time.Now(), List: wire.NewTargetList(targets)}
	for _, f := range change {
		f(&l)
	}
	if _, err := c.directory.Register(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

// A tenant with many targets is listed once for all who ask at once, and not at
// all once nobody waits any more.
func TestAListingIsMadeOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d hanging
		c := newCluster(t, 1, withHanging(&d))
		r := c.replicas[0]
		open := d.shut()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if l, failure := r.Listing(t.Context(), wire.DefaultTenant); failure != nil || len(l.Agents) != 0 {
					t.Errorf("%v, %v", l, failure)
				}
			})
		}
		synctest.Wait()
		open()
		all.Wait()
		time.Sleep(300 * time.Millisecond)
		_, _ = r.Listing(t.Context(), wire.DefaultTenant)
		if n := d.lists.Load(); n != 1 {
			t.Errorf("the directory was asked for %d lists", n)
		}
		time.Sleep(2 * time.Second)
		d.shut()
		hurry, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, failure := r.Listing(hurry, wire.DefaultTenant); failure == nil {
			t.Error("listed")
		}
		synctest.Wait()
		if n := d.ended.Load(); n != 1 {
			t.Errorf("%d lists were given up when nobody waited", n)
		}
	})
}

// The version changes with what discovery shows, and with nothing else.
func TestAListingsVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		version := func() uint64 {
			time.Sleep(3 * time.Second)
			l, failure := c.replicas[0].Listing(t.Context(), wire.DefaultTenant)
			if failure != nil {
				t.Fatal(failure)
			}
			return l.Version
		}
		node := []wire.Target{{Name: "node", Scheme: "http", Port: 9100, Path: "/metrics"}}
		register(t, c, "a", node)
		first := version()
		if again := version(); again != first {
			t.Error("another version of the same")
		}
		register(t, c, "b", node)
		if second := version(); second == first {
			t.Error("the same version with one agent more")
		}
	})
}

// Scrapes that can do without a listing do not each leave somebody behind who
// waits for the next one.
func TestOneWaitsForTheListingBehindAllScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d hanging
		r := newCluster(t, 1, withHanging(&d)).replicas[0]
		r.dial(dialOptions{}).serve("up 1\n")
		defer d.shut()()
		before := runtime.NumGoroutine()
		for range 200 {
			wantBody(t, <-r.scrape(time.Second, func(s *wire.Scrape) { *s = wire.Scrape{Tenant: s.Tenant, Host: "edge:9100", Path: "/metrics"} }), "up 1\n")
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 50 {
			t.Errorf("%d goroutines more after 200 scrapes", n)
		}
	})
}

// Requests may outlive the relay: what they ask behind themselves is not waited for
// then, and not begun.
func TestRequestsMayOutliveTheRelay(t *testing.T) {
	r := newCluster(t, 1).replicas[0]
	var asking sync.WaitGroup
	for i := range 8 {
		asking.Go(func() {
			for n := range 2000 {
				r.ClaimToName(t.Context(), wire.DefaultTenant, fmt.Sprintf("host-%d-%d", i, n))
				if i == 0 && n == 100 {
					r.end()
				}
			}
		})
	}
	asking.Wait()
}

// An agent named like an address that another declared earlier gets none of its
// scrapes: not before the replica that holds it has a listing, nor when the
// directory has gone.
func TestANameNeverTakesAnEarlierAddress(t *testing.T) {
	declared := dialOptions{name: "site", targets: []wire.Target{{Name: "db", Scheme: "http", Address: "db:9100", Port: 1, Path: "/metrics"}}}
	squatter := dialOptions{name: "db", pattern: "d*"}
	ask := func(r *replica) result {
		return <-r.scrape(time.Second, func(s *wire.Scrape) { *s = wire.Scrape{Tenant: s.Tenant, Host: "db:9100", Path: "/metrics"} })
	}
	t.Run("without a listing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newCluster(t, 1).replicas[0]
			r.dial(declared).serve("up 1\n")
			time.Sleep(2 * time.Minute) // no listing is kept for so long
			r.dial(squatter).serve("evil 1\n")
			wantBody(t, ask(r), "up 1\n")
		})
	})
	t.Run("without a directory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d hanging
			r := newCluster(t, 1, withHanging(&d)).replicas[0]
			r.dial(declared).serve("up 1\n")
			time.Sleep(2 * time.Second)
			r.dial(squatter).serve("evil 1\n")
			wantBody(t, ask(r), "up 1\n")
			defer d.shut()()
			r.Events().Bus(false)
			for range 10 {
				wantBody(t, ask(r), "up 1\n")
				time.Sleep(time.Minute)
			}
			if _, failure := r.Listing(t.Context(), wire.DefaultTenant); failure == nil || failure.Reason != wire.BusUnavailable {
				t.Errorf("discovery says %v", failure)
			}
		})
	})
}

// What a replica does itself discovery shows at once: a pod that has ended is not
// scraped once more.
func TestALinkOfOursIsListedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		connected := func() bool {
			time.Sleep(time.Millisecond)
			l, failure := r.Listing(t.Context(), wire.DefaultTenant)
			if failure != nil {
				t.Fatal(failure)
			}
			return len(l.Agents) == 1 && l.Agents[0].Connected()
		}
		if connected() {
			t.Error("nobody is linked")
		}
		a := r.dial(dialOptions{})
		a.serve("x")
		if !connected() {
			t.Error("the agent is not listed")
		}
		a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "stopping"})})
		a.closedWith(wire.CauseAgentStopped)
		if connected() {
			t.Error("the agent has stopped, and is listed as linked")
		}
	})
}
