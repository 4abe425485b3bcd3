package store_test

import (
	"slices"
	"strings"
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
	next := 0
	send := func() {
		for range 20 {
			if from.Send(to.id, frame(next)) == nil {
				next++
			}
		}
	}
	flow := func() { // until what is sent from now on is heard
		begin := next
		storetest.WaitUntil(t, within, "frames flow", func() bool {
			send()
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
		within time.Duration // is the bus back
	}{
		{"the slot moves", func() { cluster.MoveSlot(to.inbox(), first, second) }, time.Second},
		{"it moves on", func() { cluster.MoveSlot(to.inbox(), second, third) }, time.Second},
		{"and back", func() { cluster.MoveSlot(to.inbox(), third, first) }, time.Second},
		{"another is made the master", cluster.Promote, 2 * time.Second},
		{"and dies", cluster.Replica.Kill, within},
	} {
		before, began := next, time.Now()
		changed := make(chan struct{})
		go func() { step.change(); close(changed) }()
		changes += 2
		storetest.WaitUntil(t, within, step.what+", and the bus is back", func() bool {
			send()
			return l.changes() >= changes
		})
		<-changed
		back := time.Since(began)
		flow()
		t.Logf("%s: the bus is back after %v, %d of %d frames are lost", step.what, back, l.missing(before), next-before)
		if back > step.within {
			t.Errorf("%s: the bus is back after %v", step.what, back)
		}
	}
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
		return strings.HasSuffix(cluster.Masters[(owner+1)%3].Do("PUBSUB", "SHARDNUMSUB", f.to.inbox()), " 1]")
	})
	f.on(t)
	f.check(t)
	stopAll(all)
	if strings.Contains(out.String(), "NOPERM") {
		t.Error(out.String())
	}
}
