package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestLeaseOfADeadReplicaExpires(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	const lease = 400 * time.Millisecond
	dying := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, store.Pace{Lease: lease, Look: lease / 8})
	other := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	l := dying.register(t, "t", "a")
	for until := time.Now().Add(2 * lease); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if !other.linked(t, l)() {
			t.Fatal("a renewed entry expired")
		}
	}
	dying.stop()
	storetest.WaitUntil(t, within, "the entry expires", func() bool {
		a, err := other.Lookup(t.Context(), l.AgentKey)
		return err == nil && !a.Connected() && a.LastClose == wire.CauseLost.String()
	})
}

func TestLastReleasesAreWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	var entries []wire.Entry
	for _, name := range []string{"a", "b", "c"} {
		entries = append(entries, all[0].register(t, "t", name))
	}
	for _, l := range entries {
		all[0].Release(l.Link, wire.CauseDrained.String())
	}
	all[0].stop()
	for _, l := range entries {
		if a, err := all[1].Lookup(t.Context(), l.AgentKey); err != nil || a.Connected() {
			t.Errorf("agent is %+v, %v", a, err)
		}
	}
	if _, err := all[0].Register(t.Context(), storetest.NewEntry("t", "late")); err == nil {
		t.Error("registered after the end")
	}
}

func TestSupersededAtAnotherReplica(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	old := all[0].register(t, "t", "a")
	young := all[1].register(t, "t", "a")
	all[0].Await(t, 2*time.Second, storetest.LostTo(old.Link, wire.ErrSuperseded))
	if !all[0].linked(t, young)() {
		t.Error("the younger is not linked")
	}
}

// TestSupersededIsLearntWithoutTheBus: what it carries may be lost.
func TestSupersededIsLearntWithoutTheBus(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	old := r.register(t, "t", "a")
	other := newMutable(t, server, store.Pace{})
	other.mute() // it cannot tell
	other.register(t, "t", "a")
	r.Await(t, within, storetest.LostTo(old.Link, wire.ErrSuperseded))
}

func TestRegisterEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	server.Pause()
	t.Cleanup(server.Resume)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	l := storetest.NewEntry("t", "a")
	if _, err := r.Register(ctx, l); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("register says %v", err)
	}
	server.Resume()
	r.Await(t, within, storetest.RegisteredAs(l.Link))
}

// TestOutOfMemory: a Redis that takes no more writes is as good as away, and
// heals.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	server.Do("CONFIG", "SET", "maxmemory", "1")
	l := storetest.NewEntry("t", "a")
	if _, err := r.Register(t.Context(), l); err == nil {
		t.Error("registered without memory")
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	r.Await(t, within, storetest.RegisteredAs(l.Link))
}
