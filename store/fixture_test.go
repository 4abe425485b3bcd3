package store

import (
	"context"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

// within bounds what is not itself a promise of the store's.
const within = 20 * time.Second

// A replica is a running store with what it said.
type replica struct {
	*Redis
	*storetest.Events
	stop func() // as the end of the test does; may be called before
}

func (r *replica) id() wire.ReplicaID { return r.config.Replica }

// run runs a store until the test ends. It records its events, unless others
// are to be called.
func run(t *testing.T, s *Redis, others ...wire.StoreEvents) *replica {
	t.Helper()
	events := &storetest.Events{}
	callbacks := append(others, events.Callbacks())[0]
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Run(ctx, callbacks); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	r := &replica{Redis: s, Events: events, stop: func() { cancel(); <-ended }}
	t.Cleanup(r.stop)
	return r
}

// replicas runs several on one Redis, and waits until directory and bus of each
// are up.
func replicas(t *testing.T, n int, config RedisConfig) []*replica {
	t.Helper()
	var all []*replica
	for range n {
		all = append(all, run(t, open(t, config)))
	}
	for _, r := range all {
		r.Await(t, within, storetest.BusIs(true))
		storetest.WaitUntil(t, within, "the directory answers", func() bool { return !r.pulse.isAway() })
	}
	return all
}

func (r *replica) register(t *testing.T, tenant, agent string) wire.Lease {
	t.Helper()
	l := storetest.NewLease(tenant, agent)
	l.Replica = r.id()
	epoch, err := r.Register(t.Context(), l)
	if err != nil {
		t.Fatalf("register: %v", err)
	}
	l.Epoch = epoch
	return l
}

// linked reports whether the agent is linked by exactly this link.
func (r *replica) linked(t *testing.T, l wire.Lease) func() bool {
	return func() bool {
		a, err := r.Lookup(t.Context(), l.AgentKey)
		return err == nil && a != nil && len(a.Links) == 1 && a.Links[0].Link == l.Link
	}
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
