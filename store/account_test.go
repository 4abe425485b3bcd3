package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

// What is listed no longer takes no room, though nobody asked for a listing, and
// whatever its count has come to.
func TestAFullTenantIsTidied(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, RedisConfig{URL: server.URL(), Keep: time.Hour, TenantLimits: TenantLimits{Agents: 3}})
	s.timing.refresh, s.timing.registering = 50*time.Millisecond, 50*time.Millisecond
	r := run(t, s)
	storetest.WaitUntil(t, within, "the directory answers", func() bool { return !s.pulse.isAway() })
	for i := range 2 {
		l := storetest.NewLease("t", fmt.Sprint("pod", i))
		l.Ephemeral = true
		if _, err := r.Register(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		r.Release(l.Link, wire.CauseAgentStopped.String())
		storetest.WaitUntil(t, within, "it is gone", func() bool { return server.Do("EXISTS", s.keys.agent(l.AgentKey)) == "0" })
		server.Do("ZADD", s.keys.index("t"), 1, l.Agent) // longer ago than a record may be on its way
	}
	server.Do("HSET", s.keys.usage("t"), "stray", "7 7", "*", "x")
	if _, err := r.Register(t.Context(), storetest.NewLease("t", "late")); err == nil {
		t.Fatal("the tenant is not full")
	}
	for i := range 3 {
		storetest.WaitUntil(t, within, "there is room", func() bool {
			_, err := r.Register(t.Context(), storetest.NewLease("t", fmt.Sprint("late", i)))
			return err == nil
		})
	}
	storetest.WaitUntil(t, within, "what they take is counted", func() bool {
		n := sized(storetest.NewLease("t", "a").Targets).bytes
		return server.Do("HGET", s.keys.usage("t"), "*") == fmt.Sprint(3, 3, 3*n)
	})
	if _, err := r.Register(t.Context(), storetest.NewLease("t", "more")); err == nil {
		t.Error("the tenant is not full again")
	}
	server.Do("FLUSHALL")
	storetest.WaitUntil(t, within, "an emptied Redis counts them", func() bool {
		return server.Do("HLEN", s.keys.usage("t")) == "4"
	})
}
