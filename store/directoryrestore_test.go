package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestEmptiedRedisIsWrittenAnew(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Prefix: "farscrape:", Keep: time.Hour, Grace: 2 * time.Second}
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
	if _, err := list(other); !errors.Is(err, store.ErrUncertain) {
		t.Errorf("a replica that never listed says %v", err)
	}
	if _, err := other.Lookup(t.Context(), nobody); !errors.Is(err, store.ErrUncertain) {
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

func TestListingsAreRefreshedToBeRemembered(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour, Grace: time.Second})
	s.SetPace(store.Pace{Refresh: 50 * time.Millisecond})
	r := run(t, s)
	other := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour, Grace: time.Second})[0]
	storetest.WaitUntil(t, within, "somebody asks", func() bool {
		_, err := r.List(t.Context(), "t")
		return err == nil
	})
	l := other.register(t, "t", "a") // after that
	other.Release(l.Link, wire.CauseDrained.String())
	storetest.WaitUntil(t, within, "it has departed", func() bool { return len(other.links(t, l.AgentKey)) == 0 })
	listed := listings(server)
	storetest.WaitUntil(t, within, "it is listed twice without being asked", func() bool { return listings(server) >= listed+2 })
	server.Do("FLUSHALL")
	storetest.WaitUntil(t, within, "it is written back", func() bool {
		a, err := other.Lookup(t.Context(), l.AgentKey)
		return err == nil && a != nil && a.LastClose == wire.CauseDrained.String()
	})
}

// listings is how often a tenant's agents were listed at a Redis.
func listings(server *storetest.RedisServer) (n int) {
	for line := range strings.Lines(server.Do("INFO", "commandstats")) {
		if stat, ok := strings.CutPrefix(line, "cmdstat_zrange:calls="); ok {
			calls, _, _ := strings.Cut(stat, ",")
			n, _ = strconv.Atoi(calls)
		}
	}
	return n
}

// While an emptied Redis is uncertain, what was listed before is brought up to date
// with what is back. Links from before may be live for the time of a lease; then
// nobody has them.
func TestAListingFromBeforeIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Keep: time.Hour, Grace: 3 * time.Second}
	lists := quickly(t, config, store.Pace{Lease: time.Second})
	all := replicas(t, 2, config)
	dies, lives := all[0], all[1]
	dead, live := dies.register(t, "t", "dead"), lives.register(t, "t", "live")
	departed := lives.register(t, "t", "departed")
	lives.Release(departed.Link, wire.CauseDrained.String())
	names := func() (names []string) {
		agents, _ := lists.List(t.Context(), "t")
		for _, a := range agents {
			names = append(names, fmt.Sprint(a.Agent, " ", len(a.Links)))
		}
		return names
	}
	storetest.WaitUntil(t, within, "all are listed", func() bool {
		return slices.Equal(names(), []string{"dead 1", "departed 0", "live 1"})
	})
	dies.stop()
	server.Do("FLUSHALL")
	if got := names(); len(got) != 3 {
		t.Errorf("at once there are %v", got)
	}
	young := live
	young.Link, young.Agent = wire.NewID[wire.LinkID](), "new"
	lives.take(t, young)
	storetest.WaitUntil(t, within, "the new one is listed beside those of before", func() bool {
		return slices.Equal(names(), []string{"dead 1", "departed 0", "live 1", "new 1"})
	})
	storetest.WaitUntil(t, within, "nobody has the dead one's link", func() bool {
		return slices.Equal(names(), []string{"dead 0", "departed 0", "live 1", "new 1"})
	})
	storetest.WaitUntil(t, within, "it is written back", func() bool {
		a, err := lists.Lookup(t.Context(), dead.AgentKey)
		return err == nil && a != nil && a.LastClose == wire.CauseLost.String()
	})
}
