package store_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/redis/go-redis/v9"
)

// A speaker is another replica as far as an inbox can tell: it publishes envelopes
// of its own making to one replica.
type speaker struct {
	client redis.UniversalClient
	to     *replica
	id     wire.ReplicaID
	key    string              // that seals what it says; empty: it is not sealed
	change func([]byte) []byte // what becomes of it on the way; nil: nothing

	sealed uint64   // envelopes
	seq    uint64   // of a marker
	marker *speaker // after whose words those before are known to have been read
}

func newSpeaker(t *testing.T, server *storetest.RedisServer, to *replica, key string) *speaker {
	t.Helper()
	p := &speaker{client: client(server), to: to, id: wire.NewID[wire.ReplicaID](), key: key}
	t.Cleanup(func() { _ = p.client.Close() })
	p.marker = &speaker{client: p.client, to: to, id: wire.NewID[wire.ReplicaID](), key: key}
	p.marker.marker = p.marker
	return p
}

func (p *speaker) publish(t *testing.T, stream, seq uint64) {
	t.Helper()
	e := wire.Envelope{Kind: wire.EnvelopeFrames, From: p.id, Stream: stream, Seq: seq, Frames: frame(1).Append(nil)}
	b := e.Append(nil)
	if p.key != "" {
		p.sealed++
		b = sealed(e, p.key, p.to.id, p.sealed)
	}
	if p.change != nil {
		b = p.change(b)
	}
	if err := p.client.Publish(t.Context(), p.to.inbox(), b).Err(); err != nil {
		t.Fatal(err)
	}
}

// says has an envelope read, and reports whether it was believed, and whether
// something was missing before it.
func (p *speaker) says(t *testing.T, stream, seq uint64) (gap, believed bool) {
	t.Helper()
	p.to.Clear()
	p.publish(t, stream, seq)
	p.await(t)
	return p.to.Has(storetest.GapOf(p.id)), p.to.Received(p.id) > 0
}

// await waits until what was published is read.
func (p *speaker) await(t *testing.T) {
	t.Helper()
	m := p.marker
	before := p.to.Received(m.id)
	m.seq++
	m.publish(t, 1, m.seq)
	storetest.WaitUntil(t, within, "the marker is read", func() bool { return p.to.Received(m.id) > before })
}

// strangers is more than the replicas whose place in their stream is known.
const strangers = 5000

// strangers has that many others say something, a few at a time: who reads slowly
// would take its bus for dead.
func (p *speaker) strangers(t *testing.T) {
	t.Helper()
	for range strangers / 100 {
		pipe := p.client.Pipeline()
		for range 100 {
			e := wire.Envelope{Kind: wire.EnvelopeFrames, From: wire.NewID[wire.ReplicaID](), Stream: 1, Seq: 1, Frames: frame(1).Append(nil)}
			pipe.Publish(t.Context(), p.to.inbox(), e.Append(nil))
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.await(t)
	}
}

// listener is a replica that believes anew, and forgets, after so long.
func listener(t *testing.T, server *storetest.RedisServer, pace store.Pace) *replica {
	t.Helper()
	r := open(t, store.RedisConfig{URL: server.URL()})
	r.SetPace(pace)
	run(t, r).Await(t, within, storetest.BusIs(true))
	return r
}

func TestWhatIsMissingIsToldAndWhatIsLateIsNotDelivered(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	p := newSpeaker(t, server, listener(t, server, store.Pace{}), "")
	for _, step := range []struct {
		stream, seq   uint64
		gap, believed bool
		why           string
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
	} {
		if gap, believed := p.says(t, step.stream, step.seq); gap != step.gap || believed != step.believed {
			t.Errorf("%s: gap %t, believed %t", step.why, gap, believed)
		}
	}
	if gap, believed := newSpeaker(t, server, p.to, "").says(t, 1, 2); !gap || !believed {
		t.Error("a stranger in the middle of its stream is no gap")
	}
	p.strangers(t)
	if gap, believed := p.says(t, 9, 4); !gap || !believed {
		t.Errorf("the one unheard longest is remembered: gap %t, believed %t", gap, believed)
	}
}

// A peer that was quiet for long has forgotten its place, and says so by a new
// stream from its beginning.
func TestALongPauseIsNoGap(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	for _, c := range []struct {
		forgets     bool
		stream, seq uint64
		gap         bool
	}{
		{true, 6, 1, false},
		{true, 6, 2, true}, // a stream that begins so has lost something
		{true, 5, 3, true},
		{false, 6, 1, true},
	} {
		const pause = 50 * time.Millisecond
		pace := store.Pace{}
		if c.forgets {
			pace.Forget = pause
		}
		p := newSpeaker(t, server, listener(t, server, pace), "")
		p.says(t, 5, 1)
		said := time.Now()
		storetest.WaitUntil(t, within, "it was quiet for long", func() bool { return time.Since(said) > pause })
		if gap, believed := p.says(t, c.stream, c.seq); gap != c.gap || !believed {
			t.Errorf("stream %d, number %d where places are forgotten %t: gap %t, believed %t", c.stream, c.seq, c.forgets, gap, believed)
		}
	}
}

// One forged envelope puts a peer out of place, for so many envelopes and so long.
func TestAStrayEnvelopeIsNotForEver(t *testing.T) {
	t.Parallel()
	const honest, obeyed = 5, 1 << 32 // as far ahead as a stream may be
	server := storetest.StartRedis(t)
	to := listener(t, server, store.Pace{Stale: 1})
	for name, forged := range map[string]struct{ stream, seq uint64 }{
		"the highest stream":  {1<<64 - 1, 1},
		"the next stream":     {honest + 1, 1<<64 - 1},
		"the highest number":  {honest, 1<<64 - 1},
		"as far as is obeyed": {honest + obeyed, 2},
	} {
		p := newSpeaker(t, server, to, "")
		p.says(t, honest, 1)
		_, believed := p.says(t, forged.stream, forged.seq)
		if believed == (name == "the highest stream") {
			t.Errorf("%s: believed %t", name, believed)
		}
		seq, heard := uint64(2), false
		for ; !heard && seq < 12; seq++ {
			var gap bool
			if gap, heard = p.says(t, honest, seq); heard && gap != believed {
				t.Errorf("%s: heard again, gap %t", name, gap)
			}
		}
		if gap, heard := p.says(t, honest, seq); gap || !heard {
			t.Errorf("%s: the next after that: gap %t, heard %t", name, gap, heard)
		}
	}
}

// What comes late is not believed: a handful at once, or now and then one among
// those that are in place.
func TestWhatComesLateIsNotBelieved(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	for stale, inPlace := range map[time.Duration]bool{time.Hour: false, 1: true} {
		p := newSpeaker(t, server, listener(t, server, store.Pace{Stale: stale}), "")
		p.says(t, 7, 1)
		for i := range uint64(40) {
			if _, believed := p.says(t, 5, 9); believed {
				t.Fatalf("number %d, others in between %t, is believed", i, inPlace)
			}
			if inPlace {
				if gap, heard := p.says(t, 7, 2+i); gap || !heard {
					t.Fatalf("in place: gap %t, heard %t", gap, heard)
				}
			}
		}
	}
}

// A replica whose name somebody else used is believed anew, and that is told.
func TestAForgedEnvelopeIsToldAndHeals(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	from := replicas(t, 1, store.RedisConfig{URL: server.URL()})[0]
	var out syncBuffer
	to := replicas(t, 1, store.RedisConfig{URL: server.URL(), Logger: slog.New(slog.NewTextHandler(&out, nil))})[0]
	pass(t, from, to, 1)
	to.Clear()
	forged := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1 << 31, Seq: 1<<64 - 1, From: from.id}
	server.Do("PUBLISH", to.inbox(), forged.Append(nil))
	to.Await(t, within, storetest.GapOf(from.id))
	to.Clear()
	began := time.Now()
	storetest.WaitUntil(t, within, "frames arrive again", func() bool {
		_ = from.Send(to.id, frame(1))
		return to.Received(from.id) > 0
	})
	t.Logf("healed after %v", time.Since(began))
	if !to.Has(storetest.GapOf(from.id)) {
		t.Error("without a gap")
	}
	if n := to.count(t, "bus_streams_restarted_total"); n != 1 || strings.Count(out.String(), "out of place") != 1 {
		t.Errorf("counted %v times; the log is\n%s", n, out.String())
	}
}

func TestMalformedEnvelopesAreDropped(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := listener(t, server, store.Pace{})
	server.Do("PUBLISH", r.inbox(), "not an envelope")
	storetest.WaitUntil(t, within, "it is counted", func() bool { return r.count(t, "bus_malformed_total") == 1 })
}
