package store

import (
	"crypto/sha256"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
)

// testKeys are keys by their IDs, which are all there is to them.
type testKeys struct{ ids []string }

func (k *testKeys) KeyIDs() []string { return slices.Clone(k.ids) }

func (k *testKeys) Derive(id, purpose string) []byte {
	if !slices.Contains(k.ids, id) {
		return nil
	}
	derived := sha256.Sum256([]byte(id + purpose))
	return derived[:]
}

// ring is a Keyring in use, as a configuration has it.
func ring(ids ...string) func() Keyring {
	k := &testKeys{ids}
	return func() Keyring { return k }
}

const (
	keyA = "aaaaaaaa"
	keyB = "bbbbbbbb"
)

func TestSeals(t *testing.T) {
	t.Parallel()
	from, to := wire.NewID[wire.ReplicaID](), wire.NewID[wire.ReplicaID]()
	e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1, Seq: 1, From: from, Frames: frame(1).Append(nil)}
	seal := func(to wire.ReplicaID, theirs []string, ours ...string) []byte {
		s := sealer{self: from}
		s.use(&testKeys{ours})
		return s.seal(e.Append(nil), to, theirs)
	}
	changed := func(b []byte, at int) []byte {
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 1
		return b
	}
	good := func() []byte { return seal(to, nil, keyA) }
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"as it was sealed":               {good(), nil},
		"with the second key":            {seal(to, nil, keyB), nil},
		"with the one that both have":    {seal(to, []string{keyA, keyB}, "cccccccc", keyB), nil},
		"for another receiver":           {seal(wire.NewID[wire.ReplicaID](), nil, keyA), errBadSeal},
		"with another key":               {seal(to, []string{keyA}, "cccccccc"), errUnknownKey},
		"another kind":                   {changed(good(), 1), errUnknownKind},
		"another stream":                 {changed(good(), 15), errBadSeal},
		"another number in the stream":   {changed(good(), 23), errBadSeal},
		"another frame":                  {changed(good(), wire.EnvelopeSize+1), errBadSeal},
		"another number of the seal":     {changed(good(), -wire.SealTagSize-1), errBadSeal},
		"another tag":                    {changed(good(), -1), errBadSeal},
		"the tag of what the other said": {slices.Concat(good()[:len(good())-wire.SealTagSize], seal(to, nil, keyB)[len(good())-wire.SealTagSize:]), errBadSeal},
	} {
		checker := checker{self: to}
		checker.use(&testKeys{[]string{keyA, keyB}}, time.Now())
		for i := range 2 { // by the key made anew, and by the one remembered
			got, err := wire.ParseEnvelope(c.b)
			if err == nil {
				err = checker.check(got, c.b)
			} else {
				err = errUnknownKind
			}
			if err != c.want && (c.want != errUnknownKind || err != errBadSeal) {
				t.Errorf("%s, look %d: %v, want %v", name, i, err, c.want)
			}
		}
	}
}

// errUnknownKind stands for what does not even parse.
var errUnknownKind = &wire.Error{}

// TestAKeyThatWasTakenOutCountsForAWhile: others may not know yet.
func TestAKeyThatWasTakenOutCountsForAWhile(t *testing.T) {
	t.Parallel()
	from, to, now := wire.NewID[wire.ReplicaID](), wire.NewID[wire.ReplicaID](), time.Now()
	s, c := sealer{self: from}, checker{self: to}
	old, both, young := &testKeys{[]string{keyA}}, &testKeys{[]string{keyB, keyA}}, &testKeys{[]string{keyB}}
	s.use(old)
	check := func(keys *testKeys, now time.Time) error {
		t.Helper()
		e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1, Seq: 1, From: from}
		b := s.seal(e.Append(nil), to, nil)
		got, err := wire.ParseEnvelope(b)
		if err != nil {
			t.Fatal(err)
		}
		c.use(keys, now)
		return c.check(got, b)
	}
	for i, step := range []struct {
		keys *testKeys
		at   time.Duration
		want error
	}{
		{old, 0, nil}, {both, time.Hour, nil}, {young, 2 * time.Hour, nil}, {young, 2*time.Hour + retireFor, nil},
		{young, 2*time.Hour + retireFor + 1, errUnknownKey},
	} {
		if err := check(step.keys, now.Add(step.at)); err != step.want {
			t.Errorf("step %d: %v, want %v", i, err, step.want)
		}
	}
}

// sealing runs replicas that seal, and waits until nothing unsealed is believed.
func sealing(t *testing.T, server *storetest.RedisServer, n int) (all []*replica) {
	t.Helper()
	for range n {
		s := open(t, RedisConfig{URL: server.URL(), Keys: ring(keyA)})
		s.timing.lease = time.Second
		all = append(all, run(t, s))
	}
	stranger := wire.NewID[wire.ReplicaID]()
	for _, r := range all {
		r.Await(t, within, storetest.BusIs(true))
		storetest.WaitUntil(t, within, "all are known, and known to seal", func() bool {
			return r.Replicas() == n && r.needsSeal(stranger)
		})
	}
	return all
}

func TestWhoHasNoKeyReachesNobody(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := sealing(t, server, 3)
	from, to, third := all[0], all[1], all[2]
	tap := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer tap.Close()
	heard := tap.Subscribe(t.Context(), from.keys.inbox(to.id()))
	defer heard.Close()
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	exchange(t, from, to, 3)
	var kept []string
	for frames := 0; frames < 3; {
		m, err := heard.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e, err := wire.ParseEnvelope([]byte(m.Payload))
		if err != nil || e.Seal.Key == nil {
			t.Fatalf("on the bus is %+v, %v", e, err)
		}
		if e.From == from.id() {
			frames += countFrames(e.Frames)
			kept = append(kept, m.Payload)
		}
	}

	stranger := wire.NewID[wire.ReplicaID]()
	forged := func(from wire.ReplicaID, kind wire.EnvelopeKind, key string) string {
		e := wire.Envelope{Kind: kind, Stream: 9, Seq: 1, From: from, Frames: frame(1).Append(nil)}
		if key == "" {
			return string(e.Append(nil))
		}
		s := sealer{self: from}
		s.use(&testKeys{[]string{key}})
		return string(s.seal(e.Append(nil), to.id(), nil))
	}
	refused := func(r *replica, reason string) float64 {
		return testutil.ToFloat64(r.metrics.refused.WithLabelValues(reason))
	}
	to.Clear()
	third.Clear()
	for _, c := range []struct {
		what, message, reason string
		to                    *replica
	}{
		{"unsealed, as one that seals", forged(from.id(), wire.EnvelopeFrames, ""), "unsealed", to},
		{"unsealed, as the receiver", forged(to.id(), wire.EnvelopeFrames, ""), "unsealed", to},
		{"unsealed, as a stranger", forged(stranger, wire.EnvelopeFrames, ""), "unsealed", to},
		{"an unsealed nudge", forged(from.id(), wire.EnvelopeNudge, ""), "unsealed", to},
		{"sealed with another key", forged(from.id(), wire.EnvelopeFrames, "cccccccc"), "unknown_key", to},
		{"with a changed frame", kept[0][:wire.EnvelopeSize] + "x" + kept[0][wire.EnvelopeSize+1:], "bad_seal", to},
		{"what was said to another", kept[0], "bad_seal", third},
	} {
		before := refused(c.to, c.reason)
		server.Do("PUBLISH", c.to.keys.inbox(c.to.id()), c.message)
		storetest.WaitUntil(t, within, c.what+" is refused", func() bool { return refused(c.to, c.reason) == before+1 })
	}
	for _, again := range kept {
		for range 3 * staleEnvelopes {
			server.Do("PUBLISH", to.keys.inbox(to.id()), again)
		}
	}
	exchange(t, third, to, 1) // after all of that
	for _, id := range []wire.ReplicaID{from.id(), to.id(), stranger} {
		if n := to.Received(id) + third.Received(id); n > 0 {
			t.Errorf("%d bytes were believed", n)
		}
	}
	if to.Has(storetest.GapOf(from.id())) {
		t.Error("a gap")
	}
}

// TestWhatIsOldStaysOld: however often it comes, and however long after.
func TestWhatIsOldStaysOld(t *testing.T) {
	t.Parallel()
	id, now := wire.NewID[wire.ReplicaID](), time.Now()
	sealed := func(from wire.ReplicaID, stream, seq uint64) *wire.Envelope {
		return &wire.Envelope{From: from, Stream: stream, Seq: seq, Seal: wire.Seal{Key: []byte(keyA)}}
	}
	s := make(senders)
	// What was believed before says nothing.
	s.accept(&wire.Envelope{From: id, Stream: 1 << 20, Seq: 1}, now)
	if gap, deliver, _ := s.accept(sealed(id, 5, 7), now); !gap || !deliver {
		t.Errorf("the first that is sealed: gap %t, deliver %t", gap, deliver)
	}
	for range 10 * staleEnvelopes {
		now = now.Add(staleFor)
		if _, deliver, _ := s.accept(sealed(id, 5, 7), now); deliver {
			t.Fatal("it is delivered again")
		}
	}
	now = now.Add(10 * forgetAfter)
	for range 2 * maxSenders { // strangers, who would push it out
		s.accept(&wire.Envelope{From: wire.NewID[wire.ReplicaID](), Stream: 1, Seq: 1}, now)
	}
	if _, deliver, _ := s.accept(sealed(id, 5, 7), now); deliver {
		t.Error("it is delivered after others came")
	}
	if gap, deliver, _ := s.accept(sealed(id, 5, 8), now); gap || !deliver {
		t.Errorf("the next: gap %t, deliver %t", gap, deliver)
	}
}

// TestAReplicaThatDoesNotSealIsHeard: one of the version before, which is there
// first, or comes late.
func TestAReplicaThatDoesNotSealIsHeard(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	before := replicas(t, 1, RedisConfig{URL: server.URL()})[0]
	s := open(t, RedisConfig{URL: server.URL(), Keys: ring(keyA)})
	s.timing.lease = time.Second
	young := run(t, s)
	young.Await(t, within, storetest.BusIs(true))
	exchange(t, before, young, 10)
	exchange(t, young, before, 10)
	if n := testutil.ToFloat64(young.metrics.unsealing); n != 1 {
		t.Errorf("%v replicas do not seal", n)
	}
	before.stop()
	storetest.WaitUntil(t, within, "nothing unsealed is believed", func() bool { return young.needsSeal(wire.NewID[wire.ReplicaID]()) })

	late := run(t, open(t, RedisConfig{URL: server.URL()}))
	late.Await(t, within, storetest.BusIs(true)) // sooner than with young's next pulse
	exchange(t, late, young, 10)
	exchange(t, young, late, 10)
	if n := testutil.ToFloat64(young.metrics.refused.WithLabelValues("unsealed")); n != 0 {
		t.Errorf("%v envelopes were refused", n)
	}
}

// TestOtherKeysAreTold, on both sides, and that they fit again.
func TestOtherKeysAreTold(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	var keys atomic.Pointer[testKeys]
	keys.Store(&testKeys{[]string{keyB}})
	var outs [2]syncBuffer
	var all []*replica
	for i, k := range []func() Keyring{ring(keyA), func() Keyring { return keys.Load() }} {
		all = append(all, run(t, open(t, RedisConfig{URL: server.URL(), Keys: k, Logger: slog.New(slog.NewTextHandler(&outs[i], nil))})))
	}
	mismatched := func(n float64) func() bool {
		return func() bool {
			return testutil.ToFloat64(all[0].metrics.mismatched) == n && testutil.ToFloat64(all[1].metrics.mismatched) == n
		}
	}
	storetest.WaitUntil(t, within, "both see it", mismatched(1))
	keys.Store(&testKeys{[]string{keyA, keyB}})
	storetest.WaitUntil(t, within, "both see that it is over", mismatched(0))
	exchange(t, all[0], all[1], 3)
	for i, r := range all {
		r.stop()
		other := all[1-i].id()
		if log := outs[i].String(); strings.Count(log, "FARSCRAPE_KEY_FILE must") != 1 || !strings.Contains(log, string(other)) {
			t.Errorf("replica %d does not tell of %s once:\n%s", i, other, log)
		}
	}
}

// TestACLOfSeals: sealing needs no other rights.
func TestACLOfSeals(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do(slices.Concat([]any{"ACL", "SETUSER", "u", "on", ">p", "~p:*", "&p:*"}, rights())...)
	u := &url.URL{Scheme: "redis", User: url.UserPassword("u", "p"), Host: server.Addr()}
	var out syncBuffer
	all := replicas(t, 2, RedisConfig{URL: u.String(), Prefix: "p:", Keys: ring(keyA), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	exchange(t, all[0], all[1], 3)
	all[0].stop()
	if strings.Contains(out.String(), "NOPERM") {
		t.Error(out.String())
	}
}

func BenchmarkSeal(b *testing.B) {
	from, to := wire.NewID[wire.ReplicaID](), wire.NewID[wire.ReplicaID]()
	for name, n := range map[string]int{"1KiB": 1 << 10, "64KiB": 64 << 10, "256KiB": 256 << 10} {
		e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1, Seq: 1, From: from, Frames: make([]byte, n)}
		s := sealer{self: from}
		s.use(&testKeys{[]string{keyA}})
		chunk := e.Append(make([]byte, 0, maxChunk+wire.SealSize))
		b.Run("seal/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				s.seal(chunk, to, nil)
			}
		})
		c := checker{self: to}
		c.use(s.keys, time.Now())
		b.Run("check/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			sealed := s.seal(chunk, to, nil)
			got, err := wire.ParseEnvelope(sealed)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := c.check(got, sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
