package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestFramesArriveInOrder(t *testing.T) {
	t.Parallel()
	const n = 10_000
	server := storetest.StartRedis(t)
	reg := prometheus.NewRegistry()
	from := run(t, open(t, RedisConfig{URL: server.URL(), Registerer: reg}))
	to := replicas(t, 2, RedisConfig{URL: server.URL()})
	from.Await(t, within, storetest.BusIs(true))
	for i := range n {
		for _, to := range to {
			if err := from.Send(to.id(), frame(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, to := range to {
		want := 0
		for i := range n {
			want += frame(i).Size()
		}
		storetest.WaitUntil(t, within, "all frames", func() bool { return to.Received(from.id()) >= want })
		for i, got := range numbers(t, to.Frames(from.id())) {
			if got != i {
				t.Fatalf("frame %d is number %d", i, got)
			}
		}
		if to.Has(storetest.GapOf(from.id())) {
			t.Error("a gap")
		}
	}
	if from.RoundTrip() <= 0 {
		t.Errorf("the round trip is %v", from.RoundTrip())
	}
	if got := testutil.ToFloat64(from.metrics.framesOut); got != 2*n {
		t.Errorf("%v frames counted", got)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestNobodyHears(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, RedisConfig{URL: server.URL()})[0]
	nobody := wire.NewID[wire.ReplicaID]()
	if err := r.Send(nobody, frame(1)); err != nil {
		t.Fatal(err)
	}
	r.Await(t, within, storetest.UnheardOf(nobody))
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t, RedisConfig{URL: "redis://127.0.0.1:1"}) // nothing takes frames off its queue
	to := wire.NewID[wire.ReplicaID]()
	if err := s.Send(to, frame(1)); !errors.Is(err, ErrBusDown) {
		t.Errorf("before the bus is up: %v", err)
	}
	s.outbox.setUp(true)
	big := wire.Frame{Type: wire.TypeData, Payload: make([]byte, wire.MaxPayload)}
	sent := 0
	var err error
	for ; err == nil; err = s.Send(to, big) {
		sent += big.Size()
	}
	if !errors.Is(err, ErrQueueFull) || sent-big.Size() != QueueLimit {
		t.Errorf("after %d bytes: %v", sent-big.Size(), err)
	}
	if err := s.Send(wire.NewID[wire.ReplicaID](), big); err != nil {
		t.Errorf("to another: %v", err)
	}
	if dropped := s.outbox.setUp(false); dropped != QueueLimit+big.Size() {
		t.Errorf("%d bytes dropped", dropped)
	}
}

// TestRoundsAreFair: full queues do not hold up another's, nor each other.
func TestRoundsAreFair(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 9 << 10, 36 << 10, 50 << 10, wire.MaxPayload} {
		s := open(t, RedisConfig{URL: "redis://127.0.0.1:1"})
		s.outbox.setUp(true)
		data := wire.Frame{Type: wire.TypeData, Payload: make([]byte, size)}
		const queues = 2 * roundBytes / roundShare
		for range queues {
			to := wire.NewID[wire.ReplicaID]()
			for range 2*roundBytes/data.Size() + 1 {
				if err := s.Send(to, data); err != nil {
					t.Fatal(err)
				}
			}
		}
		other := wire.NewID[wire.ReplicaID]()
		if err := s.Send(other, frame(1)); err != nil {
			t.Fatal(err)
		}
		for round, served := 1, 0; served == 0; round++ {
			of := make(map[wire.ReplicaID]int)
			total := 0
			for _, m := range s.outbox.take(s.config.Replica) {
				of[m.to] += len(m.chunk.frames())
				total += len(m.chunk.frames())
			}
			served = of[other]
			delete(of, other)
			for _, n := range of {
				if n > roundShare || n < roundShare/2 {
					t.Errorf("frames of %d bytes: one destination has %d bytes in a round", size, n)
				}
			}
			if total > roundBytes || total < roundBytes/2 || round > queues*roundShare/roundBytes+1 {
				t.Fatalf("frames of %d bytes: round %d has %d bytes", size, round, total)
			}
		}
	}
}

// TestFailedRoundIsAGap: nobody knows what of it arrived.
func TestFailedRoundIsAGap(t *testing.T) {
	t.Parallel()
	s := open(t, RedisConfig{URL: "redis://127.0.0.1:1"})
	s.outbox.setUp(true)
	to := wire.NewID[wire.ReplicaID]()
	round := func() wire.Envelope {
		t.Helper()
		if err := s.Send(to, frame(1)); err != nil {
			t.Fatal(err)
		}
		messages := s.outbox.take(s.config.Replica)
		if len(messages) != 1 {
			t.Fatalf("%d messages", len(messages))
		}
		e, err := wire.ParseEnvelope(messages[0].chunk)
		if err != nil {
			t.Fatal(err)
		}
		return *e
	}
	first, second := round(), round()
	s.outbox.failed(to, second.Stream)
	third := round()
	s.outbox.failed(to, second.Stream) // of the same round
	fourth := round()

	heard := make(senders)
	for i, step := range []struct {
		wire.Envelope
		gap bool
	}{{first, false}, {third, true}, {fourth, false}} {
		if gap, deliver, _ := heard.accept(&step.Envelope, time.Now()); gap != step.gap || !deliver {
			t.Errorf("envelope %d: gap %t, deliver %t", i, gap, deliver)
		}
	}
	stranger := make(senders)
	if gap, _, _ := stranger.accept(&third, time.Now()); !gap {
		t.Error("who has heard nothing of the failed round sees no gap")
	}

	s.outbox.sweep(time.Now().Add(time.Second))
	if len(s.outbox.queues) != 0 {
		t.Error("an unused queue is not forgotten")
	}
}

// TestAGapIsSeenWithoutMoreFrames: what is missing may have been the last.
func TestAGapIsSeenWithoutMoreFrames(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, RedisConfig{URL: server.URL()})
	from, to := all[0], all[1]
	for name, lose := range map[string]func(stream uint64){
		"the sender's bus was down": func(uint64) { from.outbox.setUp(false); from.outbox.setUp(true) },
		"a round failed":            func(stream uint64) { from.outbox.failed(to.id(), stream) },
	} {
		if err := from.Send(to.id(), frame(1)); err != nil {
			t.Fatal(err)
		}
		storetest.WaitUntil(t, within, "the frame is heard", func() bool { return to.Received(from.id()) > 0 })
		to.Clear()
		from.outbox.mu.Lock()
		stream := from.outbox.queues[to.id()].stream
		from.outbox.mu.Unlock()
		lose(stream)
		storetest.WaitUntil(t, within, "a gap is seen after "+name, func() bool { return to.Has(storetest.GapOf(from.id())) })
	}
}

func TestAFrameLongerThanAMessageIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, RedisConfig{URL: "redis://127.0.0.1:1"})
	s.outbox.setUp(true)
	to := wire.NewID[wire.ReplicaID]()
	if err := s.Send(to, wire.Frame{Type: wire.TypeData, Payload: make([]byte, wire.MaxPayload)}); err != nil {
		t.Errorf("as long as may be: %v", err)
	}
	if err := s.Send(to, wire.Frame{Type: wire.TypeData, Payload: make([]byte, wire.MaxPayload+1)}); err == nil {
		t.Error("a byte more, and no error")
	}
}

func TestMalformedEnvelopesAreDropped(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, RedisConfig{URL: server.URL(), Prefix: "p:"})[0]
	server.Do("PUBLISH", "p:inbox:"+string(r.id()), "not an envelope")
	storetest.WaitUntil(t, within, "it is counted", func() bool { return testutil.ToFloat64(r.metrics.malformed) == 1 })
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

// TestNothingIsLostUnnoticed kills connections while frames flow.
func TestNothingIsLostUnnoticed(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	from := replicas(t, 1, RedisConfig{URL: server.URL()})[0]
	l := &log{}
	to := open(t, RedisConfig{URL: server.URL()})
	run(t, to, l.events(t, from.id()))
	l.awaitBus(t, 1)

	next := 0
	for _, kind := range []string{"pubsub", "normal", "pubsub", "normal"} {
		server.Do("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
		// More is sent until something sent from now on is heard.
		begin := next
		storetest.WaitUntil(t, within, "frames flow again after CLIENT KILL TYPE "+kind, func() bool {
			for range 100 {
				if from.Send(to.config.Replica, frame(next)) == nil {
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

func (l *log) awaitBus(t *testing.T, n int) {
	t.Helper()
	storetest.WaitUntil(t, within, fmt.Sprintf("%d changes of the bus", n), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.bus >= n
	})
}
