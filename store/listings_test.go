package store_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// forgetful is a replica that remembers so much of the directory; see Remember.
func forgetful(t *testing.T, server *storetest.RedisServer, agents, listings, targetLists int) *replica {
	t.Helper()
	r := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour, Grace: 4 * time.Second})
	r.Remember(agents, listings, targetLists)
	r.SetPace(store.Pace{Refresh: time.Hour})
	run(t, r)
	r.awaitDirectory(t)
	return r
}

// list lists a tenant once Redis is certain.
func (r *replica) list(t *testing.T, tenant string) (agents []wire.Agent) {
	t.Helper()
	storetest.WaitUntil(t, within, "it is listed", func() (ok bool) {
		var err error
		agents, err = r.List(t.Context(), tenant)
		return err == nil
	})
	return agents
}

// remembers reports whether a tenant's listing outlives an emptied Redis.
func (r *replica) remembers(t *testing.T, tenant string) bool {
	t.Helper()
	_, err := r.List(t.Context(), tenant)
	if err != nil && !errors.Is(err, store.ErrUncertain) {
		t.Fatal(err)
	}
	return err == nil
}

// The listing that was asked for longest ago is forgotten where there are too many
// agents in them.
func TestRememberedListingsAreBounded(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := forgetful(t, server, 2, 1<<30, 1<<30)
	for _, tenant := range []string{"first", "second", "third"} {
		r.register(t, tenant, "a")
		r.list(t, tenant)
	}
	server.Do("FLUSHALL")
	for tenant, want := range map[string]bool{"first": false, "second": true, "third": true} {
		if r.remembers(t, tenant) != want {
			t.Errorf("%s: want remembered %t", tenant, want)
		}
	}
}

func (r *replica) registerLarge(t *testing.T, tenant string, targets int) wire.Entry {
	t.Helper()
	l := storetest.NewEntry(tenant, "a")
	l.Replica = r.id
	var all []wire.Target
	for i := range targets {
		all = append(all, wire.Target{Name: fmt.Sprint("t", i), Labels: map[string]string{"a": "b", "tenant": tenant}})
	}
	l.List = wire.NewTargetList(all)
	return r.take(t, l)
}

// A tenant whose listing is large pays for that itself.
func TestALargeListingDoesNotPushOutSmallOnes(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := forgetful(t, server, 1000, 2<<20, 2<<20)
	r.register(t, "small", "a")
	r.list(t, "small")
	large := []string{"large 1", "large 2", "large 3", "large 4"}
	for _, tenant := range large {
		r.registerLarge(t, tenant, 2000)
		r.list(t, tenant)
	}
	server.Do("FLUSHALL")
	if !r.remembers(t, "small") {
		t.Error("the small one is forgotten")
	}
	if !slices.ContainsFunc(large, func(tenant string) bool { return !r.remembers(t, tenant) }) {
		t.Error("all that are large are remembered")
	}
}

// What is remembered takes no more memory than it may, by the heap's own account.
// It runs beside no other test.
func TestWhatIsRememberedFitsIntoItsBounds(t *testing.T) {
	const each = 8 << 20
	server := storetest.StartRedis(t)
	r := forgetful(t, server, 1000, each, each)
	writer := run(t, open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}))
	r.list(t, "t")
	before := heap()
	for i := range 12 {
		tenant := fmt.Sprint("large", i)
		l := writer.registerLarge(t, tenant, 8000) // some 5 MiB when it is read
		writer.Release(l.Link, wire.CauseDrained.String())
		storetest.WaitUntil(t, within, "it is written", func() bool { return len(writer.links(t, l.AgentKey)) == 0 })
		r.list(t, tenant)
	}
	writer.stop()
	if grown := heap() - before; grown > 3*each {
		t.Errorf("%d bytes more are in use, of 2 * %d", grown, each)
	}
	runtime.KeepAlive(r)
}

// heap is how much of it is in use, in bytes.
func heap() int {
	runtime.GC()
	runtime.GC() // what was in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
