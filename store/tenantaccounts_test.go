package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// What is listed no longer takes no room, though nobody asked for a listing, and
// whatever its count has come to.
func TestAFullTenantIsTidied(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour, TenantLimits: store.TenantLimits{Agents: 3}})
	s.SetPace(store.Pace{Refresh: 50 * time.Millisecond, Registering: 50 * time.Millisecond})
	r := run(t, s)
	r.awaitDirectory(t)
	for i := range 2 {
		l := storetest.NewEntry("t", fmt.Sprint("pod", i))
		l.Ephemeral = true
		if _, err := r.Register(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		r.Release(l.Link, wire.CauseAgentStopped.String())
		storetest.WaitUntil(t, within, "it is gone", func() bool { return server.Do("EXISTS", s.agentKey(l.AgentKey)) == "0" })
		server.Do("ZADD", s.indexKey("t"), 1, l.Agent) // longer ago than a record may be on its way
	}
	server.Do("HSET", s.usageKey("t"), "stray", "7 7", "*", "x")
	if _, err := r.Register(t.Context(), storetest.NewEntry("t", "late")); err == nil {
		t.Fatal("the tenant is not full")
	}
	for i := range 3 {
		storetest.WaitUntil(t, within, "there is room", func() bool {
			_, err := r.Register(t.Context(), storetest.NewEntry("t", fmt.Sprint("late", i)))
			return err == nil
		})
	}
	storetest.WaitUntil(t, within, "what they take is counted", func() bool {
		n := storetest.NewEntry("t", "a").List.Bytes()
		return server.Do("HGET", s.usageKey("t"), "*") == fmt.Sprint(3, 3, 3*n)
	})
	if _, err := r.Register(t.Context(), storetest.NewEntry("t", "more")); err == nil {
		t.Error("the tenant is not full again")
	}
	server.Do("FLUSHALL")
	storetest.WaitUntil(t, within, "an emptied Redis counts them", func() bool {
		return server.Do("HLEN", s.usageKey("t")) == "4"
	})
}
