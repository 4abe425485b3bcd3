package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/redis/go-redis/v9"
)

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	sentinel := storetest.StartSentinel(t)
	all := replicas(t, 2, store.RedisConfig{URL: sentinel.URL(), Keep: time.Hour})
	before := all[0].register(t, "t", "before")
	sentinel.Master.Kill()
	for _, r := range all {
		r.Await(t, 5*time.Second, storetest.BusIs(false))
		r.Clear()
	}
	began := time.Now()
	for _, r := range all {
		r.Await(t, within, storetest.BusIs(true))
	}
	storetest.WaitUntil(t, within, "the lease is there", all[1].linked(t, before))
	t.Logf("healed after %v", time.Since(began))
	after := all[1].register(t, "t", "after")
	storetest.WaitUntil(t, within, "a new lease is there", all[0].linked(t, after))
	pass(t, all[0], all[1], 100)
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := storetest.StartCluster(t)
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, keep time.Duration) storetest.Store {
			return open(t, store.RedisConfig{URL: cluster.URL(), Prefix: t.Name() + ":", Keep: keep, TenantLimits: suiteLimits}).Redis
		})
	})
	t.Run("bus", func(t *testing.T) {
		all := replicas(t, 3, store.RedisConfig{URL: cluster.URL(), Prefix: "bus:", Keys: ring(keyA)})
		for _, to := range all[1:] {
			pass(t, all[0], to, 5000)
		}
		if n := all[1].count(t, "bus_unsealed_replicas"); n != 0 {
			t.Errorf("%v replicas do not seal", n)
		}
	})
	t.Run("journals", func(t *testing.T) { testClusterJournals(t, cluster) })
	t.Run("revocations", func(t *testing.T) {
		config := store.RedisConfig{URL: cluster.URL(), Prefix: "revoked:", Keep: time.Hour}
		all, by := replicas(t, 2, config), revoker(t, config)
		if c := confirmed(t, by, revoke(t, by, edges, 100)); c.Replicas != 2 {
			t.Errorf("%+v", c)
		}
		allTakeBack(t, all, edges, 99)
	})
	t.Run("kill", func(t *testing.T) { testClusterKill(t, cluster) })
	t.Run("failover", func(t *testing.T) { testClusterFailover(t, cluster) })
}

// testClusterJournals has a journal at each of three masters. What was recorded in one
// go at one replica is told in its order at another.
func testClusterJournals(t *testing.T, cluster *storetest.RedisCluster) {
	all := replicas(t, 2, store.RedisConfig{URL: cluster.URL(), Prefix: "journals:", Keep: time.Hour})
	const events = 600 // more than a call appends
	tenants := make(map[int]string)
	for i := 0; len(tenants) < len(cluster.Masters); i++ {
		tenant := fmt.Sprint("t", i)
		tenants[cluster.Owner("journals:events:"+tenant)] = tenant
	}
	for i := range events {
		for _, tenant := range tenants {
			all[0].Record(storetest.NewEvent(tenant, "a", i))
		}
	}
	for _, tenant := range tenants {
		all[1].awaitEvents(t, tenant, fmt.Sprint(events-1))
		page, err := all[1].EventsAfter(t.Context(), tenant, wire.EventID{}, 2*events)
		if err != nil || len(page.Events) != events {
			t.Fatalf("%d events of %s, %v", len(page.Events), tenant, err)
		}
		for i, e := range page.Events {
			if e.Tenant != tenant || e.Detail != fmt.Sprint(i) {
				t.Fatalf("event %d is %+v", i, e)
			}
		}
	}
	if lost := all[0].count(t, "events_lost_total"); lost != 0 {
		t.Errorf("%v were lost", lost)
	}
}

// testClusterFailover kills the master that has an inbox and some of the
// records.
func testClusterFailover(t *testing.T, cluster *storetest.RedisCluster) {
	config := store.RedisConfig{URL: cluster.URL(), Prefix: "failover:", Keep: time.Hour}
	for config.Replica == "" || cluster.Owner("failover:inbox:"+string(config.Replica)) != 0 {
		config.Replica = wire.NewID[wire.ReplicaID]()
	}
	r := replicas(t, 1, config)[0]
	config.Replica = ""
	other := replicas(t, 1, config)[0]
	publisher := publisherOnly(t, cluster, config)
	var leases []wire.Entry
	for i := range 12 {
		leases = append(leases, r.register(t, "t", fmt.Sprint("a", i)))
	}
	began := time.Now()
	cluster.Masters[0].Kill()
	r.Await(t, 5*time.Second, storetest.BusIs(false))
	r.Clear()
	r.Await(t, within, storetest.BusIs(true))
	t.Logf("the bus healed after %v", time.Since(began))
	storetest.WaitUntil(t, 3*time.Second, "frames arrive of a replica that only publishes at the lost master", func() bool {
		_ = publisher.Send(r.id, frame(1))
		return r.Received(publisher.id) > 0
	})
	other.Await(t, within, storetest.BusIs(true))
	for _, l := range leases {
		storetest.WaitUntil(t, within, "the lease is there", other.linked(t, l))
	}
	t.Logf("the directory healed after %v", time.Since(began))
	storetest.WaitUntil(t, within, "the listing is whole", func() bool {
		agents, err := other.List(t.Context(), "t")
		return err == nil && len(agents) == len(leases)
	})
	storetest.WaitUntil(t, within, "both can send", func() bool {
		return r.Send(other.id, frame(1)) == nil && other.Send(r.id, frame(1)) == nil
	})
	storetest.WaitUntil(t, within, "frames arrive", func() bool { return r.Received(other.id) > 0 && other.Received(r.id) > 0 })
}

// publisherOnly is a replica that notices a lost master by nothing but what it
// publishes there: its directory is elsewhere, its inbox at another master.
func publisherOnly(t *testing.T, cluster *storetest.RedisCluster, config store.RedisConfig) *replica {
	t.Helper()
	for config.Replica == "" || cluster.Owner("failover:inbox:"+string(config.Replica)) == 0 {
		config.Replica = wire.NewID[wire.ReplicaID]()
	}
	r := open(t, config)
	r.UseDirectory(redis.NewClient(&redis.Options{Addr: storetest.StartRedis(t).Addr()}))
	run(t, r)
	r.Await(t, within, storetest.BusIs(true))
	return r
}
