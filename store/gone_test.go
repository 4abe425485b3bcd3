package store

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
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
	if err := client.HSet(t.Context(), r.keys.replicas(), string(d.id), entry).Err(); err != nil {
		t.Fatal(err)
	}
	d.sub = client.Subscribe(t.Context(), r.keys.inbox(d.id))
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
	r := replicas(t, 1, RedisConfig{URL: server.URL()})[0]
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
	s := open(t, RedisConfig{URL: server.URL()})
	s.timing.settle = 0
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
	s := open(t, RedisConfig{URL: u.String()})
	s.timing.settle = 0
	r := run(t, s)
	r.Await(t, within, storetest.BusIs(true))
	d := newDouble(t, client(server), r, 2*time.Second)
	_ = d.sub.Close()
	r.Await(t, within, storetest.UnheardOf(d.id))
}

// TestWhoIsGone: one look says nothing, nor does a Redis that was emptied.
func TestWhoIsGone(t *testing.T) {
	t.Parallel()
	self, other := wire.NewID[wire.ReplicaID](), wire.NewID[wire.ReplicaID]()
	both, alone := living{replicas: []wire.ReplicaID{self, other}}, living{replicas: []wire.ReplicaID{self}}
	var r roster
	r.init()
	for i, look := range []struct {
		living
		steady, gone bool
		why          string
	}{
		{both, true, false, "it is there"},
		{alone, true, false, "missed once"},
		{both, true, false, "there again"},
		{alone, true, false, "missed once"},
		{alone, false, false, "Redis was emptied"},
		{alone, false, false, "Redis was emptied"},
		{alone, true, true, "missed twice"},
		{alone, true, false, "told already"},
		{both, true, false, "back from the dead"},
	} {
		if gone := r.note(self, look.living, look.steady); (len(gone) > 0) != look.gone {
			t.Errorf("look %d, %s: %v are gone", i, look.why, gone)
		}
	}
	for i, n := range []int64{0, 1, 0, 0, 0, 1, 0} {
		deaf := r.noteListeners(map[wire.ReplicaID]int64{other: n, wire.NewID[wire.ReplicaID](): 0})
		if (len(deaf) > 0) != (i == 3 || i == 4) {
			t.Errorf("count %d of listeners: %v are deaf", i, deaf)
		}
	}
}

// testClusterKill: on a Cluster, PUBLISH never tells that nobody listens.
func testClusterKill(t *testing.T, cluster *storetest.RedisCluster) {
	r := replicas(t, 1, RedisConfig{URL: cluster.URL(), Prefix: "kill:"})[0]
	options, err := redis.ParseClusterURL(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	d := newDouble(t, redis.NewClusterClient(options), r, time.Minute)
	_ = d.sub.Close()
	r.Await(t, 5*time.Second, storetest.UnheardOf(d.id))
}
