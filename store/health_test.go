package store_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestRedisAwayAtFirst(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Stop()
	r := run(t, open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}))
	r.Await(t, within, storetest.BusIs(false))
	l := storetest.NewEntry("t", "a")
	if _, err := r.Register(t.Context(), l); err == nil {
		t.Error("registered in nothing")
	}
	if _, err := r.Lookup(t.Context(), l.AgentKey); err == nil {
		t.Error("looked up in nothing")
	}
	if err := r.Send(r.id, frame(1)); !errors.Is(err, store.ErrBusDown) {
		t.Errorf("sent by nothing: %v", err)
	}
	server.Start()
	r.Await(t, within, storetest.RegisteredAs(l.Link))
	r.Await(t, within, storetest.BusIs(true))
	storetest.WaitUntil(t, within, "the agent is linked", r.linked(t, l))
}

func TestRedisKilledAndRestarted(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	r, other := all[0], all[1]
	before := r.register(t, "t", "before")
	server.Kill()
	for _, r := range all {
		r.Await(t, 5*time.Second, storetest.BusIs(false))
	}
	storetest.WaitUntil(t, 5*time.Second, "listings fail", func() bool {
		_, err := r.List(t.Context(), "t")
		return err != nil
	})
	meanwhile := storetest.NewEntry("t", "meanwhile")
	if _, err := r.Register(t.Context(), meanwhile); err == nil {
		t.Error("registered in nothing")
	}
	gone := storetest.NewEntry("t", "gone")
	if _, err := r.Register(t.Context(), gone); err == nil {
		t.Error("registered in nothing")
	}
	r.Release(gone.Link, wire.CauseLost.String())
	for _, r := range all {
		r.Clear()
	}
	server.Start()
	storetest.WaitUntil(t, 2*time.Second, "the lease from before is back", other.linked(t, before))
	r.Await(t, within, storetest.RegisteredAs(meanwhile.Link))
	storetest.WaitUntil(t, within, "the lease taken meanwhile is there", other.linked(t, meanwhile))
	for _, r := range all {
		r.Await(t, 5*time.Second, storetest.BusIs(true))
	}
	if slices.Contains(r.All(), storetest.RegisteredAs(before.Link)) {
		t.Error("a lease whose epoch the owner knows was told again")
	}
	if a, _ := other.Lookup(t.Context(), gone.AgentKey); a != nil && a.Connected() {
		t.Error("a lease released meanwhile is there")
	}
}

// TestRestartFromAnOldSnapshot: the generation is the same, and yet something is
// missing.
func TestRestartFromAnOldSnapshot(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	before := all[0].register(t, "t", "before")
	server.Do("SAVE")
	after := all[0].register(t, "t", "after")
	server.Kill()
	server.Start()
	for _, l := range []wire.Entry{before, after} {
		storetest.WaitUntil(t, 2*time.Second, l.Agent+" is linked", all[1].linked(t, l))
	}
	if _, err := all[1].Lookup(t.Context(), wire.AgentKey{Tenant: "t", Agent: "nobody"}); !errors.Is(err, store.ErrUncertain) {
		t.Errorf("look-up of an unknown agent says %v", err)
	}
}

func TestRedisStalled(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	l := all[0].register(t, "t", "a")
	server.Pause()
	t.Cleanup(server.Resume)
	for _, r := range all {
		r.Await(t, 5*time.Second, storetest.BusIs(false))
	}
	if err := all[0].Send(all[1].id, frame(1)); !errors.Is(err, store.ErrBusDown) {
		t.Errorf("send says %v", err)
	}
	storetest.WaitUntil(t, 5*time.Second, "look-ups fail at once", func() bool {
		began := time.Now()
		_, err := all[1].Lookup(t.Context(), l.AgentKey)
		return err != nil && time.Since(began) < 50*time.Millisecond
	})
	for _, r := range all {
		r.Clear()
	}
	server.Resume()
	for _, r := range all {
		r.Await(t, 5*time.Second, storetest.BusIs(true))
	}
	storetest.WaitUntil(t, 2*time.Second, "the lease is there", all[1].linked(t, l))
	if err := all[0].Send(all[1].id, frame(7)); err != nil {
		t.Errorf("send says %v", err)
	}
	storetest.WaitUntil(t, within, "frames arrive", func() bool {
		return slices.Equal(numbers(t, all[1].Frames(all[0].id)), []int{7})
	})
}

// TestANewRedisSaysForHowLongDiscoveryWaits: it has answered, and agents may still
// be on their way.
func TestANewRedisSaysForHowLongDiscoveryWaits(t *testing.T) {
	t.Parallel()
	var out syncBuffer
	r := replicas(t, 1, store.RedisConfig{URL: storetest.StartRedis(t).URL(), Logger: slog.New(slog.NewTextHandler(&out, nil)), Grace: store.Grace})[0]
	_, listed := r.List(t.Context(), "t")
	_, found := r.Lookup(t.Context(), wire.AgentKey{Tenant: "t", Agent: "a"})
	for what, err := range map[string]error{"List": listed, "Lookup": found} {
		if err == nil || !strings.Contains(err.Error(), "agents may not be back in it yet: for another ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if said := out.String(); !strings.Contains(said, `msg="redis answers" discovery_waits=`) || strings.Contains(said, "discovery_waits=0s") {
		t.Errorf("no word of it in\n%s", out.String())
	}
}

// TestAnUncheckedPolicyIsToldOnce: who may not read INFO is told what nobody checks.
func TestAnUncheckedPolicyIsToldOnce(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do("ACL", "SETUSER", "u", "on", ">s3cret", "~*", "&*", "+@all", "-info")
	var out syncBuffer
	s := open(t, store.RedisConfig{URL: "redis://u:s3cret@" + server.Addr(), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	s.SetPace(store.Pace{Look: 20 * time.Millisecond})
	r := run(t, s)
	for range 2 {
		r.Await(t, within, storetest.BusIs(true))
		r.Clear()
		server.Stop()
		r.Await(t, within, storetest.BusIs(false))
		r.Clear()
		server.Start()
		server.Do("ACL", "SETUSER", "u", "on", ">s3cret", "~*", "&*", "+@all", "-info")
	}
	r.Await(t, within, storetest.BusIs(true))
	r.stop()
	said := out.String()
	if n := strings.Count(said, `msg="may not read INFO: maxmemory-policy is unchecked: noeviction is needed"`); n != 1 || !strings.Contains(said, "needs=+info") || strings.Contains(said, "s3cret") {
		t.Errorf("told %d times:\n%s", n, said)
	}
}

func TestEvictionIsWarnedOf(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	var out syncBuffer
	run(t, open(t, store.RedisConfig{URL: server.URL(), Logger: slog.New(slog.NewTextHandler(&out, nil))}))
	storetest.WaitUntil(t, within, "a warning", func() bool { return strings.Contains(out.String(), "noeviction") })
}
