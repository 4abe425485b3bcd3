package store_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/prometheus/client_golang/prometheus"
)

// within bounds what is not itself a promise of the store's.
const within = 20 * time.Second

// A replica is a store with what it said and counted, once it runs.
type replica struct {
	*store.Redis
	*storetest.Events
	id      wire.ReplicaID
	prefix  string
	listens store.PubSub
	counts  *prometheus.Registry
	stop    func() // as the end of the test does; may be called before
}

// open makes a replica with an ID of its own. Without Grace there is none.
func open(t testing.TB, config store.RedisConfig) *replica {
	t.Helper()
	if config.Replica == "" {
		config.Replica = wire.NewID[wire.ReplicaID]()
	}
	if config.Grace == 0 {
		config.Grace = -1
	}
	r := &replica{id: config.Replica, prefix: config.Prefix, listens: config.PubSub, counts: prometheus.NewRegistry()}
	config.Registerer = r.counts
	var err error
	if r.Redis, err = store.NewRedis(config); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs a replica until the test ends. It records its events, unless others
// are to be called.
func run(t testing.TB, r *replica, others ...wire.StoreEvents) *replica {
	t.Helper()
	r.Events = &storetest.Events{}
	callbacks := append(others, r.Callbacks())[0]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx, callbacks); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	return r
}

// quickly runs a replica at another pace, and waits until its directory answers.
func quickly(t testing.TB, config store.RedisConfig, pace store.Pace) *replica {
	t.Helper()
	r := open(t, config)
	r.SetPace(pace)
	run(t, r)
	r.awaitDirectory(t)
	return r
}

// replicas runs several on one Redis, and waits until directory and bus of each
// are up.
func replicas(t *testing.T, n int, config store.RedisConfig) []*replica {
	t.Helper()
	var all []*replica
	for range n {
		all = append(all, run(t, open(t, config)))
	}
	for _, r := range all {
		r.Await(t, within, storetest.BusIs(true))
		r.awaitDirectory(t)
	}
	return all
}

func (r *replica) awaitDirectory(t testing.TB) {
	t.Helper()
	storetest.WaitUntil(t, within, "the directory answers", func() bool {
		_, err := r.Lookup(t.Context(), wire.AgentKey{Tenant: "t", Agent: "nobody"})
		return err == nil || errors.Is(err, store.ErrUncertain)
	})
}

// The keys and the channel that replicas of all versions use.
func (r *replica) agentKey(k wire.AgentKey) string  { return r.prefix + "agent:{" + k.String() + "}" }
func (r *replica) indexKey(tenant string) string    { return r.prefix + "index:" + tenant }
func (r *replica) usageKey(tenant string) string    { return r.prefix + "usage:" + tenant }
func (r *replica) inboxOf(id wire.ReplicaID) string { return r.prefix + "inbox:" + string(id) }
func (r *replica) inbox() string                    { return r.inboxOf(r.id) }

// count is the value of a metric, farscrape_relay_ and its name, with a label of
// that value if it has any.
func (r *replica) count(t *testing.T, name string, label ...string) float64 {
	t.Helper()
	families, err := r.counts.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "farscrape_relay_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if slices.Equal(values, label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s %v", name, label)
	return 0
}

func (r *replica) register(t *testing.T, tenant, agent string) wire.Entry {
	t.Helper()
	l := storetest.NewEntry(tenant, agent)
	l.Replica = r.id
	return r.take(t, l)
}

// take registers a lease, and returns it with its epoch.
func (r *replica) take(t *testing.T, l wire.Entry) wire.Entry {
	t.Helper()
	epoch, err := r.Register(t.Context(), l)
	if err != nil {
		t.Fatalf("register: %v", err)
	}
	l.Epoch = epoch
	return l
}

// linked reports whether the agent is linked by exactly this link.
func (r *replica) linked(t *testing.T, l wire.Entry) func() bool {
	return func() bool { return slices.Equal(r.links(t, l.AgentKey), []wire.LinkID{l.Link}) }
}

// links are the IDs of the agent's links, in the order that it is asked by.
func (r *replica) links(t *testing.T, key wire.AgentKey) (links []wire.LinkID) {
	t.Helper()
	a, err := r.Lookup(t.Context(), key)
	if err != nil || a == nil {
		return nil
	}
	for _, l := range a.Links {
		links = append(links, l.Link)
	}
	return links
}

// frame is a frame that carries a number.
func frame(n int) wire.Frame {
	return wire.Frame{Type: wire.TypeData, Attempt: 1, Scrape: wire.ScrapeID(n), Payload: make([]byte, n%200)}
}

// numbers reads the numbers of frames.
func numbers(t *testing.T, b []byte) (all []int) {
	t.Helper()
	for len(b) > 0 {
		f, rest, err := wire.Next(b)
		if err != nil {
			t.Fatalf("frames: %v", err)
		}
		all, b = append(all, int(f.Scrape)), rest
	}
	return all
}

// pass sends n numbered frames and waits for them.
func pass(t *testing.T, from, to *replica, n int) {
	t.Helper()
	var want []int
	for i := range n {
		if err := from.Send(to.id, frame(i)); err != nil {
			t.Fatal(err)
		}
		want = append(want, i)
	}
	storetest.WaitUntil(t, within, "all frames arrive in order", func() bool {
		return slices.Equal(numbers(t, to.Frames(from.id)), want)
	})
}

// A syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
