package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestEmptiedRedisIsWrittenAnew(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := RedisConfig{URL: server.URL(), Prefix: "farscrape:", Keep: time.Hour, Grace: 2 * time.Second}
	all := replicas(t, 2, config)
	lists, other := all[0], all[1]
	departed := lists.register(t, "t", "departed")
	lists.Release(departed.Link, wire.CauseDrained.String())
	live := other.register(t, "t", "live")
	list := func(r *replica) (names []string, err error) {
		agents, err := r.List(t.Context(), "t")
		for _, a := range agents {
			names = append(names, a.Agent)
		}
		return names, err
	}
	storetest.WaitUntil(t, within, "the new Redis is certain", func() bool {
		names, err := list(lists)
		return err == nil && slices.Equal(names, []string{"departed", "live"})
	})
	nobody := wire.AgentKey{Tenant: "t", Agent: "nobody"}
	if a, err := lists.Lookup(t.Context(), nobody); a != nil || err != nil {
		t.Errorf("nobody is %v, %v", a, err)
	}

	sinceOf := func(key wire.AgentKey) time.Time {
		a, err := lists.Lookup(t.Context(), key)
		if err != nil || a == nil {
			t.Fatalf("look up: %v, %v", a, err)
		}
		return a.Since
	}
	since := map[wire.AgentKey]time.Time{departed.AgentKey: sinceOf(departed.AgentKey), live.AgentKey: sinceOf(live.AgentKey)}

	server.Do("FLUSHALL")
	if _, err := list(other); !errors.Is(err, ErrUncertain) {
		t.Errorf("a replica that never listed says %v", err)
	}
	if _, err := other.Lookup(t.Context(), nobody); !errors.Is(err, ErrUncertain) {
		t.Errorf("look-up of an unknown agent says %v", err)
	}
	if names, err := list(lists); err != nil || !slices.Equal(names, []string{"departed", "live"}) {
		t.Errorf("a replica that has listed says %v, %v", names, err)
	}
	storetest.WaitUntil(t, time.Second, "the lease is written anew", lists.linked(t, live))
	storetest.WaitUntil(t, within, "the departed agent is written back", func() bool {
		a, err := other.Lookup(t.Context(), departed.AgentKey)
		return err == nil && a != nil && !a.Connected() && a.LastClose == wire.CauseDrained.String() && len(a.Targets()) == 1
	})
	for key, before := range since { // Grace ago, at the least
		storetest.WaitUntil(t, within, "the claim of "+key.Agent+" is as old as it was", func() bool {
			return sinceOf(key).Sub(before).Abs() < config.Grace/4
		})
	}
	storetest.WaitUntil(t, within, "Redis is certain again", func() bool {
		names, err := list(other)
		return err == nil && slices.Equal(names, []string{"departed", "live"})
	})
	if a, err := other.Lookup(t.Context(), nobody); a != nil || err != nil {
		t.Errorf("nobody is %v, %v", a, err)
	}
}

func TestLeaseOfADeadReplicaExpires(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	dies := open(t, RedisConfig{URL: server.URL(), Keep: time.Hour})
	dies.timing.lease, dies.timing.renew = 400*time.Millisecond, 100*time.Millisecond
	dying := run(t, dies)
	other := replicas(t, 1, RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	l := dying.register(t, "t", "a")
	for until := time.Now().Add(2 * dies.timing.lease); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if !other.linked(t, l)() {
			t.Fatal("a renewed lease expired")
		}
	}
	dying.stop()
	storetest.WaitUntil(t, within, "the lease expires", func() bool {
		a, err := other.Lookup(t.Context(), l.AgentKey)
		return err == nil && !a.Connected() && a.LastClose == wire.CauseLost.String()
	})
}

func TestLastReleasesAreWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, RedisConfig{URL: server.URL(), Keep: time.Hour})
	var leases []wire.Lease
	for _, name := range []string{"a", "b", "c"} {
		leases = append(leases, all[0].register(t, "t", name))
	}
	for _, l := range leases {
		all[0].Release(l.Link, wire.CauseDrained.String())
	}
	all[0].stop()
	for _, l := range leases {
		if a, err := all[1].Lookup(t.Context(), l.AgentKey); err != nil || a.Connected() {
			t.Errorf("agent is %+v, %v", a, err)
		}
	}
	if _, err := all[0].Register(t.Context(), storetest.NewLease("t", "late")); err == nil {
		t.Error("registered after the end")
	}
}

func TestSupersededAtAnotherReplica(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, RedisConfig{URL: server.URL(), Keep: time.Hour})
	old := all[0].register(t, "t", "a")
	young := all[1].register(t, "t", "a")
	// Sooner than by the renewal, which would take up to Renew.
	all[0].Await(t, 2*time.Second, storetest.LostTo(old.Link, wire.ErrSuperseded))
	if !all[0].linked(t, young)() {
		t.Error("the younger is not linked")
	}
}

func TestSupersededIsLearntByRenewing(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, RedisConfig{URL: server.URL(), Keep: time.Hour})
	s.timing.renew = 100 * time.Millisecond
	r := run(t, s)
	old := r.register(t, "t", "a")
	other := replicas(t, 1, RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	other.outbox.setUp(false) // it cannot tell
	other.register(t, "t", "a")
	r.Await(t, within, storetest.LostTo(old.Link, wire.ErrSuperseded))
}

// TestReplicasAreCounted: with each pulse, and not only as often as leases are
// renewed.
func TestReplicasAreCounted(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	var all []*replica
	for range 3 {
		s := open(t, RedisConfig{URL: server.URL()})
		s.timing.lease, s.timing.renew, s.timing.pulse = 600*time.Millisecond, time.Hour, 50*time.Millisecond
		all = append(all, run(t, s))
	}
	count := func(n int) func() bool {
		return func() bool { return all[0].Replicas() == n }
	}
	storetest.WaitUntil(t, within, "there are three", count(3))
	for i, r := range all[1:] {
		for range i + 1 {
			r.register(t, "t", string(wire.NewID[wire.InstanceID]()))
		}
	}
	storetest.WaitUntil(t, within, "they hold three links", func() bool { return all[0].Links() == 3 })
	all[2].stop()
	storetest.WaitUntil(t, within, "there are two", count(2))
	storetest.WaitUntil(t, within, "they hold one link", func() bool { return all[0].Links() == 1 })
}

func TestRedisAwayAtFirst(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Stop()
	r := run(t, open(t, RedisConfig{URL: server.URL(), Keep: time.Hour}))
	r.Await(t, within, storetest.BusIs(false))
	l := storetest.NewLease("t", "a")
	if _, err := r.Register(t.Context(), l); err == nil {
		t.Error("registered in nothing")
	}
	if _, err := r.Lookup(t.Context(), l.AgentKey); err == nil {
		t.Error("looked up in nothing")
	}
	if err := r.Send(r.id(), frame(1)); !errors.Is(err, ErrBusDown) {
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
	all := replicas(t, 2, RedisConfig{URL: server.URL(), Keep: time.Hour})
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
	meanwhile := storetest.NewLease("t", "meanwhile")
	if _, err := r.Register(t.Context(), meanwhile); err == nil {
		t.Error("registered in nothing")
	}
	gone := storetest.NewLease("t", "gone")
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
		t.Error("a lease given up meanwhile is there")
	}
}

// TestRestartFromAnOldSnapshot: the generation is the same, and yet something is
// missing.
func TestRestartFromAnOldSnapshot(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, RedisConfig{URL: server.URL(), Keep: time.Hour})
	before := all[0].register(t, "t", "before")
	server.Do("SAVE")
	after := all[0].register(t, "t", "after")
	server.Kill()
	server.Start()
	for _, l := range []wire.Lease{before, after} {
		storetest.WaitUntil(t, 2*time.Second, l.Agent+" is linked", all[1].linked(t, l))
	}
	if _, err := all[1].Lookup(t.Context(), wire.AgentKey{Tenant: "t", Agent: "nobody"}); !errors.Is(err, ErrUncertain) {
		t.Errorf("look-up of an unknown agent says %v", err)
	}
}

func TestRegisterEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	server.Pause()
	t.Cleanup(server.Resume)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	l := storetest.NewLease("t", "a")
	if _, err := r.Register(ctx, l); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("register says %v", err)
	}
	server.Resume()
	r.Await(t, within, storetest.RegisteredAs(l.Link))
}

func TestListingsAreRefreshedToBeRemembered(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, RedisConfig{URL: server.URL(), Keep: time.Hour, Grace: time.Second})
	s.timing.refresh = 50 * time.Millisecond
	r := run(t, s)
	other := replicas(t, 1, RedisConfig{URL: server.URL(), Keep: time.Hour, Grace: time.Second})[0]
	storetest.WaitUntil(t, within, "somebody asks", func() bool {
		_, err := r.List(t.Context(), "t")
		return err == nil
	})
	l := other.register(t, "t", "a") // after that
	other.Release(l.Link, wire.CauseDrained.String())
	storetest.WaitUntil(t, within, "it is remembered", func() bool {
		agents, _ := r.listings.get("t")
		return len(agents) == 1 && !agents[0].Connected()
	})
	server.Do("FLUSHALL")
	storetest.WaitUntil(t, within, "it is written back", func() bool {
		a, err := other.Lookup(t.Context(), l.AgentKey)
		return err == nil && a != nil && a.LastClose == wire.CauseDrained.String()
	})
}

func TestRedisStalled(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, RedisConfig{URL: server.URL(), Keep: time.Hour})
	l := all[0].register(t, "t", "a")
	server.Pause()
	t.Cleanup(server.Resume)
	for _, r := range all {
		r.Await(t, 5*time.Second, storetest.BusIs(false))
	}
	if err := all[0].Send(all[1].id(), frame(1)); !errors.Is(err, ErrBusDown) {
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
	if err := all[0].Send(all[1].id(), frame(7)); err != nil {
		t.Errorf("send says %v", err)
	}
	storetest.WaitUntil(t, within, "frames arrive", func() bool {
		return slices.Equal(numbers(t, all[1].Frames(all[0].id())), []int{7})
	})
}
