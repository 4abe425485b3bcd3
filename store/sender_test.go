package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestFramesArriveInOrder(t *testing.T) {
	t.Parallel()
	const n = 10_000
	server := storetest.StartRedis(t)
	from := run(t, open(t, store.RedisConfig{URL: server.URL()}))
	to := replicas(t, 2, store.RedisConfig{URL: server.URL()})
	from.Await(t, within, storetest.BusIs(true))
	for i := range n {
		for _, to := range to {
			if err := from.Send(to.id, frame(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, to := range to {
		want := 0
		for i := range n {
			want += frame(i).Size()
		}
		storetest.WaitUntil(t, within, "all frames", func() bool { return to.Received(from.id) >= want })
		for i, got := range numbers(t, to.Frames(from.id)) {
			if got != i {
				t.Fatalf("frame %d is number %d", i, got)
			}
		}
		if to.Has(storetest.GapOf(from.id)) {
			t.Error("a gap")
		}
	}
	if from.RoundTrip() <= 0 {
		t.Errorf("the round trip is %v", from.RoundTrip())
	}
	if got := from.count(t, "bus_frames_total", "out"); got != 2*n {
		t.Errorf("%v frames counted", got)
	}
	if problems, err := testutil.GatherAndLint(from.counts); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestNobodyHears(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, store.RedisConfig{URL: server.URL()})[0]
	nobody := wire.NewID[wire.ReplicaID]()
	if err := r.Send(nobody, frame(1)); err != nil {
		t.Fatal(err)
	}
	r.Await(t, within, storetest.UnheardOf(nobody))
}

func TestAFrameLongerThanAMessageIsRefused(t *testing.T) {
	t.Parallel()
	s := replicas(t, 1, store.RedisConfig{URL: storetest.StartRedis(t).URL()})[0]
	to := wire.NewID[wire.ReplicaID]()
	if err := s.Send(to, wire.Frame{Type: wire.TypeData, Payload: make([]byte, wire.MaxPayload)}); err != nil {
		t.Errorf("as long as may be: %v", err)
	}
	if err := s.Send(to, wire.Frame{Type: wire.TypeData, Payload: make([]byte, wire.MaxPayload+1)}); err == nil {
		t.Error("a byte more, and no error")
	}
}

// TestNothingIsLostUnnoticed kills connections while frames flow.
func TestNothingIsLostUnnoticed(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	from := replicas(t, 1, store.RedisConfig{URL: server.URL()})[0]
	l := &log{}
	to := open(t, store.RedisConfig{URL: server.URL()})
	run(t, to, l.events(t, from.id))
	l.awaitBus(t, 1)

	next := 0
	for _, kind := range []string{"pubsub", "normal", "pubsub", "normal"} {
		server.Do("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
		// More is sent until something sent from now on is heard.
		begin := next
		storetest.WaitUntil(t, within, "frames flow again after CLIENT KILL TYPE "+kind, func() bool {
			for range 100 {
				if from.Send(to.id, frame(next)) == nil {
					next++
				}
			}
			last, _ := l.check(t)
			return last > begin+1000
		})
	}
	if _, gaps := l.check(t); gaps == 0 {
		t.Error("four kills, and no gap")
	}
}

// A log is what one replica hears of another, in order.
type log struct {
	mu    sync.Mutex
	heard []int // numbers; -1 is a gap
	bus   int   // changes
}

func (l *log) events(t *testing.T, from wire.ReplicaID) wire.StoreEvents {
	return wire.StoreEvents{
		Frames: func(f wire.ReplicaID, b []byte) {
			if f != from {
				return
			}
			n := numbers(t, b)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.heard = append(l.heard, n...)
		},
		Revoked: func(*wire.Revocations) map[wire.RevokedSubject]int { return nil },
		Gap: func(f wire.ReplicaID) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.heard = append(l.heard, -1)
		},
		Bus: func(bool) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.bus++
		},
		Unheard:    func(wire.ReplicaID) {},
		Registered: func(wire.LinkID, uint64) {},
		Lost:       func(wire.LinkID, error) {},
	}
}

// last is the last number heard, and check fails where one is missing without a
// gap before the next, or out of order.
func (l *log) check(t *testing.T) (last, gaps int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last = -1
	gap := false
	for i, n := range l.heard {
		switch {
		case n == -1:
			gap = true
			gaps++
			continue
		case n <= last:
			t.Fatalf("number %d after %d, at %d", n, last, i)
		case n != last+1 && !gap:
			t.Fatalf("number %d after %d without a gap, at %d", n, last, i)
		}
		last, gap = n, false
	}
	return last, gaps
}

func (l *log) awaitBus(t *testing.T, n int) {
	t.Helper()
	storetest.WaitUntil(t, within, fmt.Sprintf("%d changes of the bus", n), func() bool { return l.changes() >= n })
}

// changes are those of the bus.
func (l *log) changes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bus
}

// A mutable is a replica whose words Redis may refuse to publish, but for those to
// itself: its bus stays up.
type mutable struct {
	*replica
	user         string // that only this replica is
	mute, unmute func()
}

func newMutable(t testing.TB, server *storetest.RedisServer, pace store.Pace) *mutable {
	t.Helper()
	id := wire.NewID[wire.ReplicaID]()
	user := "user-" + string(id)
	allow := func(channels ...any) {
		server.Do(append([]any{"ACL", "SETUSER", user, "on", ">p", "~*", "+@all", "resetchannels"}, channels...)...)
	}
	allow("allchannels")
	r := open(t, store.RedisConfig{URL: "redis://" + user + ":p@" + server.Addr(), Replica: id, Keep: time.Hour})
	r.SetPace(pace)
	run(t, r).Await(t, within, storetest.BusIs(true))
	r.awaitDirectory(t)
	return &mutable{r, user, func() { allow("&" + r.inbox()) }, func() { allow("allchannels") }}
}

// What was not published is a gap to whoever it was for, heard before or not, and
// without another frame: what is missing may have been the last.
func TestAGapIsSeenWithoutMoreFrames(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	const forget = 100 * time.Millisecond // a queue without use
	from := newMutable(t, server, store.Pace{Forget: forget})
	for name, before := range map[string]int{"who has heard nothing": 0, "who has heard something": 3} {
		to := replicas(t, 1, store.RedisConfig{URL: server.URL()})[0]
		if before > 0 {
			pass(t, from.replica, to, before)
		}
		to.Clear()
		lost := from.count(t, "bus_dropped_bytes_total", "publish_failed")
		from.mute()
		if err := from.Send(to.id, frame(before)); err != nil {
			t.Fatal(err)
		}
		storetest.WaitUntil(t, within, "a round fails", func() bool {
			return from.count(t, "bus_dropped_bytes_total", "publish_failed") > lost
		})
		failed := time.Now()
		storetest.WaitUntil(t, within, "the queue was without use for long", func() bool { return time.Since(failed) > 3*forget })
		from.unmute()
		storetest.WaitUntil(t, within, name+" sees a gap", func() bool { return to.Has(storetest.GapOf(from.id)) })
		to.Clear()
		pass(t, from.replica, to, 10)
		if to.Has(storetest.GapOf(from.id)) {
			t.Errorf("%s sees another gap in what comes after it", name)
		}
	}
}

// Where the bus was down, everything for it is dropped, and that is a gap, too.
func TestABusThatWasDownIsAGap(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	from := newMutable(t, server, store.Pace{})
	to := replicas(t, 1, store.RedisConfig{URL: server.URL()})[0] // whose own bus stays up
	pass(t, from.replica, to, 3)
	server.Do("CLIENT", "KILL", "TYPE", "pubsub", "USER", from.user)
	from.Await(t, within, storetest.BusIs(false))
	storetest.WaitUntil(t, within, "a gap is seen", func() bool { return to.Has(storetest.GapOf(from.id)) })
}

// A queue is bounded, and no other is fuller for it. What nobody took is counted.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	big := wire.Frame{Type: wire.TypeData, Payload: make([]byte, wire.MaxPayload)}
	server := storetest.StartRedis(t)
	r := run(t, open(t, store.RedisConfig{URL: server.URL()}))
	if err := r.Send(wire.NewID[wire.ReplicaID](), big); !errors.Is(err, store.ErrBusDown) {
		t.Errorf("before the bus is up: %v", err)
	}
	r.Await(t, within, storetest.BusIs(true))
	before := r.count(t, "bus_dropped_bytes_total", "bus_down")
	server.Pause()
	t.Cleanup(server.Resume)
	to, queued := wire.NewID[wire.ReplicaID](), 0
	var err error
	for err = r.Send(to, big); err == nil; err = r.Send(to, big) {
		queued += big.Size()
	}
	// One round of 1 MiB at the most is on its way meanwhile.
	if over := queued - store.QueueLimit; !errors.Is(err, store.ErrQueueFull) || over < -big.Size() || over > 1<<20 {
		t.Errorf("after %d bytes: %v", queued, err)
	}
	if err := r.Send(wire.NewID[wire.ReplicaID](), big); err != nil {
		t.Errorf("to another: %v", err)
	}
	r.Await(t, within, storetest.BusIs(false))
	storetest.WaitUntil(t, within, "all that was taken is counted as dropped", func() bool {
		dropped := r.count(t, "bus_dropped_bytes_total", "bus_down") - before + r.count(t, "bus_dropped_bytes_total", "publish_failed")
		return int(dropped) == queued+big.Size()
	})
}

// Full queues do not hold up another's: each has its turn in a round, and no more
// than a share of it.
func TestRoundsAreFair(t *testing.T) {
	t.Parallel()
	const queues, each = 8, 2 << 20
	server := storetest.StartRedis(t)
	tap := client(server)
	defer tap.Close()
	for _, size := range []int{9 << 10, 36 << 10, 50 << 10, wire.MaxPayload} {
		data := wire.Frame{Type: wire.TypeData, Payload: make([]byte, size)}
		r := replicas(t, 1, store.RedisConfig{URL: server.URL(), Prefix: fmt.Sprint(size, ":")})[0]
		sub := tap.PSubscribe(t.Context(), r.inboxOf("*"))
		defer sub.Close()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		server.Pause()
		for range queues {
			to := wire.NewID[wire.ReplicaID]()
			for range each / data.Size() {
				if err := r.Send(to, data); err != nil {
					t.Fatal(err)
				}
			}
		}
		last := wire.NewID[wire.ReplicaID]()
		if err := r.Send(last, frame(1)); err != nil {
			t.Fatal(err)
		}
		server.Resume()
		before := make(map[string]int)
		for before[r.inboxOf(last)] == 0 {
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m.Channel != r.inbox() {
				before[m.Channel] += len(m.Payload)
			}
		}
		// One round of 1 MiB, of one queue alone, may have been on its way before the
		// others filled.
		for _, n := range before {
			if n > 1<<20+2*wire.MaxEnvelope {
				t.Errorf("frames of %d bytes: %d bytes for one destination go before another's turn", size, n)
			}
		}
		r.stop()
	}
}
