package store_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// testSlotMoves moves the slot of an inbox while frames flow to it, and takes its
// master away.
func testSlotMoves(t *testing.T, cluster *storetest.RedisCluster) {
	config := inCluster(cluster, "moves:", store.PubSubAuto)
	for config.Replica == "" || cluster.Owner("moves:inbox:"+string(config.Replica)) != 0 {
		config.Replica = wire.NewID[wire.ReplicaID]()
	}
	l := &log{}
	to := open(t, config)
	config.Replica = ""
	from := replicas(t, 1, config)[0]
	run(t, to, l.events(t, from.id))
	l.awaitBus(t, 1)
	storetest.WaitUntil(t, within, "it is known how it listens", func() bool { return from.count(t, "bus_sharded_replicas") == 1 })
	sent := stream(t, from, to.id)
	flow := func() { // until what is sent from now on is heard
		begin := int(sent.Load())
		storetest.WaitUntil(t, within, "frames flow", func() bool {
			last, _ := l.check(t)
			return last > begin+1000
		})
	}
	flow()
	first, second, third := cluster.Masters[0], cluster.Masters[1], cluster.Masters[2]
	changes := 1
	for _, step := range []struct {
		what   string
		change func()
		at     *storetest.RedisServer // it listens then
		within time.Duration          // is the bus back
	}{
		{"the slot moves", func() { cluster.MoveSlot(to.inbox(), first, second) }, second, time.Second},
		{"it moves on", func() { cluster.MoveSlot(to.inbox(), second, third) }, third, time.Second},
		{"and back", func() { cluster.MoveSlot(to.inbox(), third, first) }, first, time.Second},
		{"another is made the master", cluster.Promote, cluster.Replica, 2 * time.Second},
		{"and dies", cluster.Replica.Kill, first, within},
	} {
		before, began := int(sent.Load()), time.Now()
		step.change()
		changes += 2
		l.awaitBus(t, changes)
		back := time.Since(began)
		if !listens(step.at, to.inbox()) {
			t.Errorf("%s: it does not listen there", step.what)
		}
		flow()
		t.Logf("%s: the bus is back after %v, %d of %d frames are lost", step.what, back, l.missing(before), int(sent.Load())-before)
		if back > step.within {
			t.Errorf("%s: the bus is back after %v", step.what, back)
		}
	}
}

// listens reports whether somebody listens to an inbox at a node by sharded pub/sub.
func listens(node *storetest.RedisServer, inbox string) bool {
	return strings.HasSuffix(node.Do("PUBSUB", "SHARDNUMSUB", inbox), " 1]")
}

// stream has a replica send numbered frames until the test ends, some 4,000/s, and
// says how many it has sent.
func stream(t *testing.T, from *replica, to wire.ReplicaID) *atomic.Int64 {
	var sent atomic.Int64
	done, tick := make(chan struct{}), time.NewTicker(5*time.Millisecond)
	go func() {
		defer close(done)
		for {
			select {
			case <-t.Context().Done():
				return
			case <-tick.C:
			}
			for range 20 {
				if from.Send(to, frame(int(sent.Load()))) == nil {
					sent.Add(1)
				}
			}
		}
	}()
	t.Cleanup(func() { tick.Stop(); <-done })
	return &sent
}

// missing is how many numbers were not heard from one on.
func (l *log) missing(from int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, heard := from, 0
	for _, n := range l.heard {
		if n >= from {
			heard++
			last = n
		}
	}
	return last - from + 1 - heard
}

// testMovedIsFollowed: a sender that has not heard of a slot's move learns of it by
// what it sends, and that is not lost. It needs no more rights than deploy/README.md
// has.
func testMovedIsFollowed(t *testing.T, cluster *storetest.RedisCluster) {
	var out syncBuffer
	all := replicas(t, 2, as(t, cluster, "followed:", &out, slices.Concat(rights(), []any{"+info", "+cluster|slots", "+ssubscribe", "+spublish"})...))
	awaitSharded(t, all, 1)
	f := &flow{from: all[0], to: all[1]}
	f.on(t)
	owner := cluster.Owner(f.to.inbox())
	cluster.MoveSlot(f.to.inbox(), cluster.Masters[owner], cluster.Masters[(owner+1)%3])
	storetest.WaitUntil(t, within, "it listens at the other master", func() bool {
		return listens(cluster.Masters[(owner+1)%3], f.to.inbox())
	})
	f.on(t)
	f.check(t)
	stopAll(all)
	if strings.Contains(out.String(), "NOPERM") {
		t.Error(out.String())
	}
}
