package store

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestSenders(t *testing.T) {
	t.Parallel()
	id := wire.NewID[wire.ReplicaID]()
	steps := []struct {
		stream, seq  uint64
		gap, deliver bool
		why          string
	}{
		{5, 1, false, true, "a stream from its beginning"},
		{5, 2, false, true, "the next"},
		{5, 2, false, false, "the same again"},
		{5, 4, true, true, "one is missing"},
		{5, 3, false, false, "the missing one, late"},
		{7, 1, true, true, "a new stream: something of the last may be lost"},
		{5, 5, false, false, "the old stream, late"},
		{7, 2, false, true, "the next"},
		{9, 3, true, true, "a new stream without its beginning"},
	}
	s := make(senders)
	for _, step := range steps {
		gap, deliver, _ := s.accept(&wire.Envelope{From: id, Stream: step.stream, Seq: step.seq}, time.Now())
		if gap != step.gap || deliver != step.deliver {
			t.Errorf("%s: gap %t, deliver %t", step.why, gap, deliver)
		}
	}
	if gap, deliver, _ := s.accept(&wire.Envelope{From: wire.NewID[wire.ReplicaID](), Stream: 1, Seq: 2}, time.Now()); !gap || !deliver {
		t.Error("a stranger in the middle of its stream is no gap")
	}
	for range 2 * maxSenders {
		s.accept(&wire.Envelope{From: wire.NewID[wire.ReplicaID](), Stream: 1, Seq: 1}, time.Now())
	}
	if len(s) > maxSenders {
		t.Errorf("%d senders are remembered", len(s))
	}
}

// TestALongPauseIsNoGap: a sender that has forgotten its place says so by a new
// stream from its beginning.
func TestALongPauseIsNoGap(t *testing.T) {
	t.Parallel()
	id, now := wire.NewID[wire.ReplicaID](), time.Now()
	s := make(senders)
	s.accept(&wire.Envelope{From: id, Stream: 5, Seq: 1}, now)
	for _, step := range []struct {
		pause       time.Duration
		stream, seq uint64
		gap         bool
	}{
		{forgetAfter, 6, 1, false},
		{forgetAfter, 7, 2, true}, // a stream that begins so was given up
		{time.Second, 8, 1, true},
		{forgetAfter, 8, 3, true},
	} {
		now = now.Add(step.pause)
		if gap, deliver, _ := s.accept(&wire.Envelope{From: id, Stream: step.stream, Seq: step.seq}, now); gap != step.gap || !deliver {
			t.Errorf("stream %d, number %d after %v: gap %t, deliver %t", step.stream, step.seq, step.pause, gap, deliver)
		}
	}
}

// TestAQueueThatOwesAGapIsKept: who forgets it would begin as if nothing was lost.
func TestAQueueThatOwesAGapIsKept(t *testing.T) {
	t.Parallel()
	s := open(t, RedisConfig{URL: "redis://127.0.0.1:1"})
	s.outbox.setUp(true)
	to := wire.NewID[wire.ReplicaID]()
	if err := s.Send(to, frame(1)); err != nil {
		t.Fatal(err)
	}
	m := s.outbox.take(s.config.Replica)[0]
	s.outbox.failed(to, m.stream)
	s.outbox.sweep(time.Now().Add(time.Second))
	if s.outbox.queues[to] == nil {
		t.Error("it is forgotten")
	}
}

// TestAStrayEnvelopeIsNotForEver: one forged envelope puts a sender out of place,
// for so many envelopes and so long.
func TestAStrayEnvelopeIsNotForEver(t *testing.T) {
	t.Parallel()
	for name, forged := range map[string]wire.Envelope{
		"the highest stream":  {Stream: 1<<64 - 1, Seq: 1},
		"the next stream":     {Stream: 6, Seq: 1<<64 - 1},
		"the highest number":  {Stream: 5, Seq: 1<<64 - 1},
		"as far as is obeyed": {Stream: 5 + maxJump, Seq: 2},
	} {
		id, now := wire.NewID[wire.ReplicaID](), time.Now()
		s := make(senders)
		honest := wire.Envelope{From: id, Stream: 5, Seq: 1}
		s.accept(&honest, now)
		forged.From = id
		s.accept(&forged, now)
		heard := 0
		for heard < staleEnvelopes+1 {
			honest.Seq++
			heard++
			now = now.Add(staleFor / 2)
			gap, deliver, _ := s.accept(&honest, now)
			if deliver {
				if gap == (name == "the highest stream") { // which was not obeyed at all
					t.Errorf("%s: believed again, gap %t", name, gap)
				}
				break
			}
		}
		if heard > staleEnvelopes {
			t.Errorf("%s: still not believed after %d envelopes", name, heard)
		}
		honest.Seq++
		if gap, deliver, _ := s.accept(&honest, now); gap || !deliver {
			t.Errorf("%s: the next after that: gap %t, deliver %t", name, gap, deliver)
		}
	}
}

// TestWhatComesLateIsNotBelieved: a handful at once, or now and then one among
// those that are in place.
func TestWhatComesLateIsNotBelieved(t *testing.T) {
	t.Parallel()
	id, now := wire.NewID[wire.ReplicaID](), time.Now()
	s := make(senders)
	next := wire.Envelope{From: id, Stream: 7, Seq: 1}
	s.accept(&next, now)
	late := wire.Envelope{From: id, Stream: 5, Seq: 9}
	for i := range 10 * staleEnvelopes {
		if _, deliver, _ := s.accept(&late, now); deliver {
			t.Fatalf("number %d of those that came at once is delivered", i)
		}
	}
	for i := range 10 * staleEnvelopes {
		now = now.Add(staleFor)
		next.Seq++
		if gap, deliver, _ := s.accept(&next, now); gap || !deliver {
			t.Fatalf("in place: gap %t, deliver %t", gap, deliver)
		}
		if _, deliver, _ := s.accept(&late, now); deliver {
			t.Fatalf("number %d of those between others is delivered", i)
		}
	}
}

// TestAForgedEnvelopeIsToldAndHeals, by real Redis.
func TestAForgedEnvelopeIsToldAndHeals(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	from := replicas(t, 1, RedisConfig{URL: server.URL()})[0]
	var out syncBuffer
	to := replicas(t, 1, RedisConfig{URL: server.URL(), Logger: slog.New(slog.NewTextHandler(&out, nil))})[0]
	exchange(t, from, to, 1)
	to.Clear()
	forged := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 2 + maxJump/2, Seq: 1<<64 - 1, From: from.id()}
	server.Do("PUBLISH", string(to.keys.inbox(to.id())), forged.Append(nil))
	storetest.WaitUntil(t, within, "the forged one is heard", func() bool { return to.Has(storetest.GapOf(from.id())) })
	to.Clear()
	began := time.Now()
	storetest.WaitUntil(t, within, "frames arrive again", func() bool {
		_ = from.Send(to.id(), frame(1))
		return to.Received(from.id()) > 0
	})
	t.Logf("healed after %v", time.Since(began))
	if !to.Has(storetest.GapOf(from.id())) {
		t.Error("without a gap")
	}
	if n := testutil.ToFloat64(to.metrics.restarts); n != 1 || strings.Count(out.String(), "out of place") != 1 {
		t.Errorf("counted %v times; the log is\n%s", n, out.String())
	}
}
