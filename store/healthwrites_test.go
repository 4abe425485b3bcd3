package store_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// A Redis that is full takes no renewals and answers all the same. What cannot be
// renewed is not known to be gone, for a time.
func TestLeasesOutliveARedisThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	const lease = 800 * time.Millisecond
	server := storetest.StartRedis(t)
	var out syncBuffer
	brief := func(logger *slog.Logger) *replica {
		s := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour, Logger: logger})
		s.SetPace(store.Pace{Lease: lease, Look: lease / 8, Standstill: 5 * time.Second})
		r := run(t, s)
		r.awaitDirectory(t)
		return r
	}
	owner, other := brief(nil), brief(slog.New(slog.NewTextHandler(&out, nil)))
	live, departed := owner.register(t, "t", "live"), owner.register(t, "t", "departed")
	owner.Release(departed.Link, wire.CauseDrained.String())
	storetest.WaitUntil(t, within, "one has departed", func() bool { return len(other.links(t, departed.AgentKey)) == 0 })
	connected := func(agent string) bool {
		agents, err := other.List(t.Context(), "t")
		for i := range agents {
			if agents[i].Agent == agent {
				return agents[i].Connected()
			}
		}
		t.Fatalf("%s is not listed: %v", agent, err)
		return false
	}

	server.Do("CONFIG", "SET", "maxmemory", "1")
	storetest.WaitUntil(t, within, "it is noticed", func() bool { return other.count(t, "directory_writable") == 0 })
	for until := time.Now().Add(3 * lease); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if !other.linked(t, live)() || !connected("live") {
			t.Fatal("a lease that nobody could renew has run out")
		}
		if connected("departed") {
			t.Fatal("a lease that was released is back")
		}
	}
	if n := strings.Count(out.String(), "takes no writes"); n != 1 || !strings.Contains(out.String(), "OOM") || !strings.Contains(out.String(), `mend="Redis is full: give it more maxmemory"`) {
		t.Errorf("the log says so %d times:\n%s", n, out.String())
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	storetest.WaitUntil(t, within, "it is noticed", func() bool { return other.count(t, "directory_writable") == 1 })
	if !other.linked(t, live)() {
		t.Error("the lease is gone before its owner could renew it")
	}
	storetest.WaitUntil(t, within, "it is said", func() bool { return strings.Contains(out.String(), "takes writes again") })

	server.Do("CONFIG", "SET", "maxmemory", "1")
	owner.stop()
	storetest.WaitUntil(t, within, "the lease of a dead replica is not believed for ever", func() bool { return len(other.links(t, live.AgentKey)) == 0 })
	server.Do("CONFIG", "SET", "maxmemory", "0")
}

// A replica that starts meanwhile reaches the others.
func TestAReplicaStartsWithARedisThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	owner := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	live := owner.register(t, "t", "live")
	server.Do("CONFIG", "SET", "maxmemory", "1")
	late := run(t, open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}))
	late.Await(t, within, storetest.BusIs(true))
	storetest.WaitUntil(t, within, "it knows who is linked", late.linked(t, live))
	server.Do("CONFIG", "SET", "maxmemory", "0")
}

// Who may not see whose lease ends believes none that has ended: that says nothing of
// Redis's taking writes.
func TestARightThatIsMissingIsNoStandstill(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	var out syncBuffer
	brief := func() *replica {
		s := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		s.SetPace(store.Pace{Lease: 800 * time.Millisecond, Look: 100 * time.Millisecond, Standstill: 3 * time.Second})
		r := run(t, s)
		r.Await(t, within, storetest.BusIs(true))
		return r
	}
	owner, other := brief(), brief()
	live := owner.register(t, "t", "live")
	storetest.WaitUntil(t, within, "it is linked", other.linked(t, live))
	server.Do("ACL", "SETUSER", "default", "resetkeys", "~agent:*", "~index:*", "~usage:*", "~generation:*")
	storetest.WaitUntil(t, within, "both notice", func() bool {
		return strings.Count(out.String(), "redis refuses the list of replicas") == 2
	})
	if !other.linked(t, live)() {
		t.Error("a link has gone whose lease nobody saw end")
	}
	owner.stop()
	storetest.WaitUntil(t, within, "the lease of a dead replica is not believed for ever", func() bool { return len(other.links(t, live.AgentKey)) == 0 })
	if other.count(t, "directory_writable") != 1 {
		t.Error("redis takes writes, and the metric says that it does not")
	}
}
