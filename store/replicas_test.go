package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// TestAloneIsKnownOrIsNot: not knowing is not being alone.
func TestAloneIsKnownOrIsNot(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	first := open(t, store.RedisConfig{URL: server.URL()}) // has not looked at Redis yet
	second := run(t, open(t, store.RedisConfig{URL: server.URL()}))
	storetest.WaitUntil(t, within, "the second is alone", func() bool { return second.Alone(t.Context()) })
	if first.Alone(t.Context()) {
		t.Error("a replica that has not looked yet takes itself for alone, beside another")
	}
	run(t, first)
	storetest.WaitUntil(t, within, "the second is not", func() bool { return !second.Alone(t.Context()) })
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if second.Alone(ctx) {
		t.Error("alone, as a Redis says that does not answer")
	}
}

// TestNobodyLivesForEver: an entry that outlives every lease is not a replica's.
func TestNobodyLivesForEver(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do("HSET", "p:replicas", string(wire.NewID[wire.ReplicaID]()), "9999999999999 1000")
	server.Do("HSET", "p:replicas:about", string(wire.NewID[wire.ReplicaID]()), "9999999999999 {}")
	r := replicas(t, 1, store.RedisConfig{URL: server.URL(), Prefix: "p:", Keys: ring(keyA)})[0]
	if r.Replicas() != 1 || r.Links() != 0 {
		t.Errorf("%d replicas, %d links", r.Replicas(), r.Links())
	}
	storetest.WaitUntil(t, within, "they are gone", func() bool {
		return server.Do("HLEN", "p:replicas") == "1" && server.Do("HLEN", "p:replicas:about") == "1"
	})
}

// TestWhatIsNoHashIsMended: nothing but the count would notice.
func TestWhatIsNoHashIsMended(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do("SET", "p:replicas", "of the wrong type")
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Prefix: "p:"})
	storetest.WaitUntil(t, within, "both are counted", func() bool { return all[0].Replicas() == 2 })
}

// TestReplicasAreCounted: with each look at Redis, and not only as often as leases are
// renewed.
func TestReplicasAreCounted(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	var all []*replica
	for range 3 {
		s := open(t, store.RedisConfig{URL: server.URL()})
		s.SetPace(store.Pace{Lease: 600 * time.Millisecond, Look: 50 * time.Millisecond})
		all = append(all, run(t, s))
	}
	count := func(n int) func() bool {
		return func() bool { return all[0].Replicas() == n }
	}
	storetest.WaitUntil(t, within, "there are three", count(3))
	for i, r := range all[1:] {
		for range i + 1 {
			r.register(t, "t", string(wire.NewID[wire.InstanceID]()))
		}
	}
	storetest.WaitUntil(t, within, "they hold three links", func() bool { return all[0].Links() == 3 })
	all[2].stop()
	storetest.WaitUntil(t, within, "there are two", count(2))
	storetest.WaitUntil(t, within, "they hold one link", func() bool { return all[0].Links() == 1 })
}
