package store_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/redis/go-redis/v9"
)

// A double is another replica as far as Redis can tell: an entry among the living
// and a subscription.
type double struct {
	id  wire.ReplicaID
	sub *redis.PubSub
}

// newDouble makes one whose entry ends after so long, and has r send it a frame.
func newDouble(t *testing.T, client redis.UniversalClient, r *replica, lease time.Duration) *double {
	t.Helper()
	d := &double{id: wire.NewID[wire.ReplicaID]()}
	t.Cleanup(func() { _ = client.Close() })
	entry := fmt.Sprint(time.Now().Add(lease).UnixMilli(), " 0")
	if err := client.HSet(t.Context(), r.prefix+"replicas", string(d.id), entry).Err(); err != nil {
		t.Fatal(err)
	}
	d.sub = client.Subscribe(t.Context(), r.inboxOf(d.id))
	t.Cleanup(func() { _ = d.sub.Close() })
	if _, err := d.sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	storetest.WaitUntil(t, within, "it is counted", func() bool { return r.Replicas() == 2 })
	if err := r.Send(d.id, frame(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.sub.ReceiveMessage(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func client(server *storetest.RedisServer) redis.UniversalClient {
	return redis.NewClient(&redis.Options{Addr: server.Addr()})
}

// TestAKilledReplicaIsMissed: nothing is sent to it that nobody would hear.
func TestAKilledReplicaIsMissed(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, store.RedisConfig{URL: server.URL()})[0]
	d := newDouble(t, client(server), r, time.Minute)
	if r.Has(storetest.UnheardOf(d.id)) {
		t.Fatal("it is missed while it listens")
	}
	_ = d.sub.Close() // what the kernel does for one that is killed
	r.Await(t, 3*time.Second, storetest.UnheardOf(d.id))
}

// TestAFrozenReplicaIsMissed: its subscription stands.
func TestAFrozenReplicaIsMissed(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, store.RedisConfig{URL: server.URL()})
	s.SetPace(store.Pace{Rejoin: 1})
	r := run(t, s)
	r.Await(t, within, storetest.BusIs(true))
	d := newDouble(t, client(server), r, 2*time.Second)
	r.Await(t, within, storetest.UnheardOf(d.id))
	storetest.WaitUntil(t, within, "one is left", func() bool { return r.Replicas() == 1 })
}

// TestAKilledReplicaIsMissedByItsLease where Redis does not say who listens.
func TestAKilledReplicaIsMissedByItsLease(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do("ACL", "SETUSER", "u", "reset", "on", ">p", "~*", "&*", "+@all", "-pubsub")
	u := &url.URL{Scheme: "redis", User: url.UserPassword("u", "p"), Host: server.Addr()}
	s := open(t, store.RedisConfig{URL: u.String()})
	s.SetPace(store.Pace{Rejoin: 1})
	r := run(t, s)
	r.Await(t, within, storetest.BusIs(true))
	d := newDouble(t, client(server), r, 2*time.Second)
	_ = d.sub.Close()
	r.Await(t, within, storetest.UnheardOf(d.id))
}

// testClusterKill: on a Cluster, PUBLISH never tells that nobody listens.
func testClusterKill(t *testing.T, cluster *storetest.RedisCluster) {
	r := replicas(t, 1, store.RedisConfig{URL: cluster.URL(), Prefix: "kill:"})[0]
	options, err := redis.ParseClusterURL(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	d := newDouble(t, redis.NewClusterClient(options), r, time.Minute)
	_ = d.sub.Close()
	r.Await(t, 5*time.Second, storetest.UnheardOf(d.id))
}

// One look that misses a replica says nothing: it may fall into a new subscription,
// or into Redis's coming back.
func TestAReplicaMissedOnceIsNotGone(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, store.RedisConfig{URL: server.URL()})
	s.SetPace(store.Pace{Rejoin: 1, Look: 3 * time.Second})
	r := run(t, s)
	r.Await(t, within, storetest.BusIs(true))
	d := newDouble(t, client(server), r, time.Minute)
	entry := server.Do("HGET", r.prefix+"replicas", string(d.id))
	server.Do("HDEL", r.prefix+"replicas", string(d.id))
	storetest.WaitUntil(t, within, "it is missed once", func() bool { return r.Replicas() == 1 })
	server.Do("HSET", r.prefix+"replicas", string(d.id), entry)
	storetest.WaitUntil(t, within, "it is there again", func() bool { return r.Replicas() == 2 })
	if r.Has(storetest.UnheardOf(d.id)) {
		t.Error("it was taken for gone")
	}
}

// An emptied Redis says nothing of who is gone, until others had time to come back.
func TestAnEmptiedRedisDoesNotSayWhoIsGone(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, store.RedisConfig{URL: server.URL()})
	s.SetPace(store.Pace{Rejoin: time.Hour, Look: 50 * time.Millisecond})
	r := run(t, s)
	r.Await(t, within, storetest.BusIs(true))
	d := newDouble(t, client(server), r, time.Minute)
	server.Do("FLUSHALL")
	storetest.WaitUntil(t, within, "it is not among the living", func() bool { return r.Replicas() == 1 })
	deaf := newDouble(t, client(server), r, time.Minute)
	_ = deaf.sub.Close()
	r.Await(t, within, storetest.UnheardOf(deaf.id)) // two looks later
	if r.Has(storetest.UnheardOf(d.id)) {
		t.Error("it was taken for gone")
	}
}
