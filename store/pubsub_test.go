package store_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestShardedPubSub(t *testing.T) {
	t.Parallel()
	cluster := storetest.StartCluster(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *storetest.RedisCluster)
	}{
		{"a message stays at its node", testShardedStays},
		{"each says how it listens", testPubSubsMix},
		{"from plain to sharded and back", testPubSubRolls},
		{"what has moved is followed", testMovedIsFollowed},
		{"it is refused", testShardedIsRefused},
		{"a slot moves, and a master dies", testSlotMoves},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, cluster) })
	}
}

// inCluster is the configuration of a replica in a Cluster.
func inCluster(cluster *storetest.RedisCluster, prefix string, by store.PubSub) store.RedisConfig {
	return store.RedisConfig{URL: cluster.URL(), Prefix: prefix, Keys: ring(keyA), PubSub: by}
}

// sentOn is how many messages of pub/sub the masters have sent to each other.
func sentOn(t *testing.T, cluster *storetest.RedisCluster) (n int) {
	t.Helper()
	for _, m := range cluster.Masters {
		for line := range strings.Lines(m.Do("CLUSTER", "INFO")) {
			if count, ok := strings.CutPrefix(strings.TrimSpace(line), "cluster_stats_messages_publish_sent:"); ok {
				sent, err := strconv.Atoi(count)
				if err != nil {
					t.Fatal(err)
				}
				n += sent
			}
		}
	}
	return n
}

// awaitSharded waits until each sends to so many others the sharded way.
func awaitSharded(t *testing.T, all []*replica, others int) {
	t.Helper()
	for _, r := range all {
		storetest.WaitUntil(t, within, "it is known how all listen", func() bool {
			return r.Replicas() == len(all) && r.count(t, "bus_unsealed_replicas") == 0 && r.count(t, "bus_sharded_replicas") == float64(others)
		})
	}
}

func stopAll(all []*replica) {
	for _, r := range all {
		r.stop()
	}
}

func testShardedStays(t *testing.T, cluster *storetest.RedisCluster) {
	const envelopes = 50
	for by, others := range map[store.PubSub]int{"": 2, store.PubSubAuto: 2, store.PubSubSharded: 2, store.PubSubPlain: 0} {
		all := replicas(t, 3, inCluster(cluster, "stays"+string(by)+":", by))
		awaitSharded(t, all, others)
		before := sentOn(t, cluster)
		for range envelopes {
			for _, to := range all[1:] {
				to.Clear()
				pass(t, all[0], to, 1)
			}
		}
		sent := sentOn(t, cluster) - before
		t.Logf("%q: %d messages between nodes for %d envelopes", by, sent, 2*envelopes)
		if others > 0 && sent > 0 || others == 0 && sent < 2*envelopes {
			t.Errorf("%q: %d messages between nodes", by, sent)
		}
		stopAll(all)
	}
}

// A flow is what one replica goes on sending to another.
type flow struct {
	from, to *replica
	sent     int
}

// flows are those between all replicas.
func flows(all []*replica) (pairs []*flow) {
	for _, from := range all {
		for _, to := range all {
			if from != to {
				pairs = append(pairs, &flow{from: from, to: to})
			}
		}
	}
	return pairs
}

// on sends a few more frames, and waits for the last of them.
func (f *flow) on(t *testing.T) {
	t.Helper()
	for range 3 {
		if err := f.from.Send(f.to.id, frame(f.sent)); err != nil {
			t.Fatal(err)
		}
		f.sent++
	}
	storetest.WaitUntil(t, within, "what was sent arrives", func() bool {
		heard := numbers(t, f.to.Frames(f.from.id))
		return len(heard) > 0 && heard[len(heard)-1] == f.sent-1
	})
}

// check fails where something is missing, came twice or out of order.
func (f *flow) check(t *testing.T) {
	t.Helper()
	for i, n := range numbers(t, f.to.Frames(f.from.id)) {
		if n != i {
			t.Fatalf("frame %d is number %d", i, n)
		}
	}
	if f.to.Has(storetest.GapOf(f.from.id)) || f.from.Has(storetest.UnheardOf(f.to.id)) {
		t.Error("a gap, or nobody heard")
	}
}

// A replica that listens plain is in Redis what one of the version before is.
func testPubSubsMix(t *testing.T, cluster *storetest.RedisCluster) {
	var all []*replica
	for _, by := range []store.PubSub{store.PubSubPlain, store.PubSubAuto, store.PubSubSharded} {
		all = append(all, replicas(t, 1, inCluster(cluster, "mix:", by))...)
	}
	for i, others := range []float64{0, 1, 1} {
		storetest.WaitUntil(t, within, "it is known how all listen", func() bool {
			return all[i].Replicas() == 3 && all[i].count(t, "bus_sharded_replicas") == others
		})
	}
	for _, f := range flows(all) {
		f.on(t)
		f.check(t)
	}
	stopAll(all)
}

// One replica after the other is replaced, and whoever comes is sent to at once. No
// frame is lost, or comes twice, or overtakes another while senders change from one
// pub/sub to the other.
func testPubSubRolls(t *testing.T, cluster *storetest.RedisCluster) {
	fleet := replicas(t, 3, inCluster(cluster, "rolls:", store.PubSubPlain))
	sharded := 0
	for _, by := range []store.PubSub{
		store.PubSubAuto, store.PubSubSharded, store.PubSubAuto,
		store.PubSubPlain, store.PubSubPlain, store.PubSubPlain,
	} {
		next := run(t, open(t, inCluster(cluster, "rolls:", by)))
		next.Await(t, within, storetest.BusIs(true))
		fleet = append(fleet, next)
		if by != store.PubSubPlain {
			sharded++
		}
		pairs := flows(fleet)
		known := func() bool {
			for _, r := range fleet {
				others := 0
				if r.listens != store.PubSubPlain {
					others = sharded - 1
				}
				if r.Replicas() != len(fleet) || r.count(t, "bus_sharded_replicas") != float64(others) {
					return false
				}
			}
			return true
		}
		after := 0
		storetest.WaitUntil(t, within, "all know how the new one listens, and go on", func() bool {
			for _, f := range pairs {
				f.on(t)
			}
			if known() {
				after++
			}
			return after == 10
		})
		for _, f := range pairs {
			f.check(t)
		}
		fleet[0].stop()
		if fleet[0].listens != store.PubSubPlain {
			sharded--
		}
		fleet = fleet[1:]
		for _, r := range fleet {
			r.Clear()
		}
	}
	stopAll(fleet)
}
