package store_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
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

// ring is a store.Keyring in use, as a configuration has it.
func ring(ids ...string) func() store.Keyring {
	k := &testKeys{ids}
	return func() store.Keyring { return k }
}

const (
	keyA = "aaaaaaaa"
	keyB = "bbbbbbbb"
)

func TestWhoHasNoKeyReachesNobody(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := sealing(t, server, 3)
	from, to, third := all[0], all[1], all[2]
	tap := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer tap.Close()
	heard := tap.Subscribe(t.Context(), from.inboxOf(to.id))
	defer heard.Close()
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	pass(t, from, to, 3)
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
		if e.From == from.id {
			frames += len(numbers(t, e.Frames))
			kept = append(kept, m.Payload)
		}
	}

	stranger := wire.NewID[wire.ReplicaID]()
	forged := func(from wire.ReplicaID, kind wire.EnvelopeKind, key string) string {
		e := wire.Envelope{Kind: kind, Stream: 9, Seq: 1, From: from, Frames: frame(1).Append(nil)}
		if key == "" {
			return string(e.Append(nil))
		}
		return string(sealed(e, key, to.id, 1))
	}
	refused := func(r *replica, reason string) float64 {
		return r.count(t, "bus_refused_total", reason)
	}
	to.Clear()
	third.Clear()
	for _, c := range []struct {
		what, message, reason string
		to                    *replica
	}{
		{"unsealed, as one that seals", forged(from.id, wire.EnvelopeFrames, ""), "unsealed", to},
		{"unsealed, as the receiver", forged(to.id, wire.EnvelopeFrames, ""), "unsealed", to},
		{"unsealed, as a stranger", forged(stranger, wire.EnvelopeFrames, ""), "unsealed", to},
		{"an unsealed nudge", forged(from.id, wire.EnvelopeNudge, ""), "unsealed", to},
		{"sealed with another key", forged(from.id, wire.EnvelopeFrames, "cccccccc"), "unknown_key", to},
		{"with a changed frame", kept[0][:wire.EnvelopeSize] + "x" + kept[0][wire.EnvelopeSize+1:], "bad_seal", to},
		{"what was said to another", kept[0], "bad_seal", third},
	} {
		before := refused(c.to, c.reason)
		server.Do("PUBLISH", c.to.inboxOf(c.to.id), c.message)
		storetest.WaitUntil(t, within, c.what+" is refused", func() bool { return refused(c.to, c.reason) == before+1 })
	}
	for _, again := range kept {
		for range 20 {
			server.Do("PUBLISH", to.inboxOf(to.id), again)
		}
	}
	pass(t, third, to, 1) // after all of that
	for _, id := range []wire.ReplicaID{from.id, to.id, stranger} {
		if n := to.Received(id) + third.Received(id); n > 0 {
			t.Errorf("%d bytes were believed", n)
		}
	}
	if to.Has(storetest.GapOf(from.id)) {
		t.Error("a gap")
	}
}

// TestAReplicaThatDoesNotSealIsHeard: one of the version before, which is there
// first, or comes late.
func TestAReplicaThatDoesNotSealIsHeard(t *testing.T) {
	t.Parallel()
	const lease = time.Second
	server := storetest.StartRedis(t)
	before := replicas(t, 1, store.RedisConfig{URL: server.URL()})[0]
	s := open(t, store.RedisConfig{URL: server.URL(), Keys: ring(keyA)})
	s.SetPace(store.Pace{Lease: lease})
	young := run(t, s)
	young.Await(t, within, storetest.BusIs(true))
	pass(t, before, young, 10)
	pass(t, young, before, 10)
	if n := young.count(t, "bus_unsealed_replicas"); n != 1 {
		t.Errorf("%v replicas do not seal", n)
	}
	before.stop()
	storetest.WaitUntil(t, within, "all seal", func() bool { return young.count(t, "bus_unsealed_replicas") == 0 })
	allSeal := time.Now()
	storetest.WaitUntil(t, within, "a lease has passed since", func() bool { return time.Since(allSeal) > 2*lease })

	late := run(t, open(t, store.RedisConfig{URL: server.URL()}))
	late.Await(t, within, storetest.BusIs(true)) // sooner than with young's next look
	pass(t, late, young, 10)
	pass(t, young, late, 10)
	if n := young.count(t, "bus_refused_total", "unsealed"); n != 0 {
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
	for i, k := range []func() store.Keyring{ring(keyA), func() store.Keyring { return keys.Load() }} {
		all = append(all, run(t, open(t, store.RedisConfig{URL: server.URL(), Keys: k, Logger: slog.New(slog.NewTextHandler(&outs[i], nil))})))
	}
	mismatched := func(n float64) func() bool {
		return func() bool {
			return all[0].count(t, "key_mismatch_replicas") == n && all[1].count(t, "key_mismatch_replicas") == n
		}
	}
	storetest.WaitUntil(t, within, "both see it", mismatched(1))
	keys.Store(&testKeys{[]string{keyA, keyB}})
	storetest.WaitUntil(t, within, "both see that it is over", mismatched(0))
	pass(t, all[0], all[1], 3)
	for i, r := range all {
		r.stop()
		other := all[1-i].id
		if log := outs[i].String(); strings.Count(log, "FARSCRAPE_KEY_FILE must") != 1 || !strings.Contains(log, string(other)) {
			t.Errorf("replica %d does not tell of %s once:\n%s", i, other, log)
		}
	}
}

// TestACLOfSeals: sealing needs no other rights.
func TestACLOfSeals(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do(slices.Concat([]any{"ACL", "SETUSER", "u", "on", ">p", "~p:*", "&p:*", "+info"}, rights())...)
	u := &url.URL{Scheme: "redis", User: url.UserPassword("u", "p"), Host: server.Addr()}
	var out syncBuffer
	all := replicas(t, 2, store.RedisConfig{URL: u.String(), Prefix: "p:", Keys: ring(keyA), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	pass(t, all[0], all[1], 3)
	all[0].stop()
	if strings.Contains(out.String(), "NOPERM") {
		t.Error(out.String())
	}
}

// sealed is an envelope from who is named in it, sealed as replicas of all versions
// do it: relay/decisions/signed-envelopes.md.
func sealed(e wire.Envelope, key string, to wire.ReplicaID, number uint64) []byte {
	secret := (&testKeys{[]string{key}}).Derive(key, fmt.Sprintf("farscrape bus, from %s to %s", e.From, to))
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := binary.BigEndian.AppendUint64(make([]byte, 4), number)
	b := wire.AppendSeal(e.Append(nil), key, number)
	return gcm.Seal(b, nonce, nil, b)
}

// sealing runs replicas that seal, and waits until nothing unsealed is believed.
func sealing(t *testing.T, server *storetest.RedisServer, n int) (all []*replica) {
	t.Helper()
	for range n {
		r := open(t, store.RedisConfig{URL: server.URL(), Keys: ring(keyA)})
		r.SetPace(store.Pace{Lease: time.Second})
		all = append(all, run(t, r))
	}
	for _, r := range all {
		r.Await(t, within, storetest.BusIs(true))
		storetest.WaitUntil(t, within, "all are known", func() bool { return r.Replicas() == n })
		storetest.WaitUntil(t, within, "nothing unsealed is believed", func() bool {
			stranger := wire.Envelope{Kind: wire.EnvelopeFrames, From: wire.NewID[wire.ReplicaID](), Stream: 1, Seq: 1}
			server.Do("PUBLISH", r.inbox(), stranger.Append(nil))
			return r.count(t, "bus_refused_total", "unsealed") > 0
		})
	}
	return all
}

// A receiver that asks for seals believes what bears the right one, and says of the
// rest what is wrong with it.
func TestSeals(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	to := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keys: ring(keyA, keyB), SealedOnly: true})[0]
	changed := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			b[(at+len(b))%len(b)] ^= 1
			return b
		}
	}
	for name, c := range map[string]struct {
		key    string
		change func([]byte) []byte
		want   string // the reason for which it is refused; empty: it is believed
	}{
		"as it was sealed":             {keyA, nil, ""},
		"with the second key":          {keyB, nil, ""},
		"with another key":             {"cccccccc", nil, "unknown_key"},
		"another stream":               {keyA, changed(15), "bad_seal"},
		"another number in the stream": {keyA, changed(23), "bad_seal"},
		"another frame":                {keyA, changed(wire.EnvelopeSize + 1), "bad_seal"},
		"another number of the seal":   {keyA, changed(-wire.SealTagSize - 1), "bad_seal"},
		"another tag":                  {keyA, changed(-1), "bad_seal"},
	} {
		for _, known := range []bool{false, true} { // by the key made anew, and by the one remembered
			p := newSpeaker(t, server, to, keyA)
			if known {
				if _, believed := p.says(t, 1, 1); !believed {
					t.Fatalf("%s: the sender is not believed", name)
				}
			}
			before := make(map[string]float64)
			for _, reason := range []string{"unsealed", "unknown_key", "bad_seal"} {
				before[reason] = to.count(t, "bus_refused_total", reason)
			}
			p.key, p.change = c.key, c.change
			if _, believed := p.says(t, 1, 2); believed != (c.want == "") {
				t.Errorf("%s, sender known %t: believed %t", name, known, believed)
			}
			for reason, n := range before {
				if refused := to.count(t, "bus_refused_total", reason) > n; refused != (reason == c.want) {
					t.Errorf("%s, sender known %t: refused as %s: %t", name, known, reason, refused)
				}
			}
		}
	}
}

// A replica seals with a key that the receiver has too.
func TestAKeyThatBothHaveIsUsed(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	to := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keys: ring(keyA, keyB), SealedOnly: true})[0]
	from := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keys: ring("cccccccc", keyB)})[0]
	storetest.WaitUntil(t, within, "each knows the other's keys", func() bool {
		return to.count(t, "key_mismatch_replicas") == 1 && from.count(t, "key_mismatch_replicas") == 1
	})
	pass(t, from, to, 3)
}

// A key that was taken out counts for a while, for others may not know yet.
func TestAKeyThatWasTakenOutCountsForAWhile(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	for retire, believed := range map[time.Duration]bool{time.Hour: true, 1: false} {
		var keys atomic.Pointer[testKeys]
		keys.Store(&testKeys{[]string{keyB, keyA}})
		to := open(t, store.RedisConfig{URL: server.URL(), Keys: func() store.Keyring { return keys.Load() }, SealedOnly: true})
		to.SetPace(store.Pace{Retire: retire})
		run(t, to).Await(t, within, storetest.BusIs(true))
		p := newSpeaker(t, server, to, keyB)
		p.key = keyA
		if _, heard := p.says(t, 1, 1); !heard {
			t.Fatal("a key that is there does not count")
		}
		keys.Store(&testKeys{[]string{keyB}})
		p.marker.says(t, 1, 1) // it is noticed with what comes first
		if _, heard := p.says(t, 1, 2); heard != believed {
			t.Errorf("where it is retired for %v: believed %t", retire, heard)
		}
	}
}

// What is old and sealed stays old, however often it comes, however long after, and
// however many others came.
func TestWhatIsOldStaysOld(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	to := open(t, store.RedisConfig{URL: server.URL(), Keys: ring(keyA)})
	to.SetPace(store.Pace{Stale: 1, Lease: time.Hour}) // so that what is not sealed is believed as well
	run(t, to).Await(t, within, storetest.BusIs(true))
	p := newSpeaker(t, server, to, keyA)
	p.key = ""
	p.says(t, 1<<20, 1) // What was believed before says nothing.
	p.key = keyA
	if gap, believed := p.says(t, 5, 7); !gap || !believed {
		t.Errorf("the first that is sealed: gap %t, believed %t", gap, believed)
	}
	for range 20 {
		if _, believed := p.says(t, 5, 7); believed {
			t.Fatal("it is believed again")
		}
	}
	p.strangers(t)
	if _, believed := p.says(t, 5, 7); believed {
		t.Error("it is believed after others came")
	}
	if gap, believed := p.says(t, 5, 8); gap || !believed {
		t.Errorf("the next: gap %t, believed %t", gap, believed)
	}
}
