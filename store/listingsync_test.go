package store_test

import (
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

// lookups are how many records Redis has read.
func lookups(t *testing.T, server *storetest.RedisServer) int {
	t.Helper()
	_, line, _ := strings.Cut(server.Do("INFO", "commandstats"), "cmdstat_hgetall:calls=")
	count, _, _ := strings.Cut(line, ",")
	n, _ := strconv.Atoi(count)
	return n
}

// follower lists by what has changed, at once.
func follower(t *testing.T, server *storetest.RedisServer, keep time.Duration) *replica {
	t.Helper()
	return quickly(t, store.RedisConfig{URL: server.URL(), Keep: keep},
		store.Pace{Look: time.Hour, Relist: 1, Listed: 1, Settle: 50 * time.Millisecond, Whole: time.Hour})
}

// A listing in which nothing has changed reads no record.
func TestAListingCostsWhatHasChanged(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := follower(t, server, time.Hour)
	const agents = 100
	var last wire.Entry
	for i := range agents {
		last = r.register(t, "t", fmt.Sprint("a", i))
	}
	settled := func() {
		t.Helper()
		storetest.WaitUntil(t, within, "nothing changes any more", func() bool {
			before := lookups(t, server)
			_, err := r.List(t.Context(), "t")
			return err == nil && lookups(t, server) == before
		})
	}
	settled()
	before := lookups(t, server)
	for range 10 {
		if listed, err := r.List(t.Context(), "t"); err != nil || len(listed) != agents {
			t.Fatalf("%d are listed, %v", len(listed), err)
		}
	}
	if n := lookups(t, server) - before; n > 0 {
		t.Errorf("%d records were read", n)
	}
	r.Update(last.Link, wire.NewTargetList([]wire.Target{{Name: "other"}}))
	storetest.WaitUntil(t, within, "its targets are listed", func() bool {
		listed, err := r.List(t.Context(), "t")
		i := slices.IndexFunc(listed, func(a wire.Agent) bool { return a.Agent == last.Agent })
		return err == nil && listed[i].Targets()[0].Name == "other"
	})
	settled()
	if n := lookups(t, server) - before; n > agents/2 {
		t.Errorf("%d records were read for one change", n)
	}
}

// Whatever becomes of an agent, wherever it is linked, is listed by who follows.
func TestAListingFollowsOthersChanges(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	keep := 5 * time.Second // long enough to be seen
	here, there := follower(t, server, keep), replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	here.register(t, "t", "here")
	want := func(want ...string) {
		t.Helper()
		storetest.WaitUntil(t, within, fmt.Sprint("listed are ", want), func() bool {
			listed, err := here.List(t.Context(), "t")
			var got []string
			for i := range listed {
				got = append(got, fmt.Sprint(listed[i].Agent, " ", listed[i].Connected()))
			}
			return err == nil && slices.Equal(got, want)
		})
	}
	want("here true")
	l := there.register(t, "t", "there")
	want("here true", "there true")
	there.Release(l.Link, wire.CauseDrained.String())
	want("here true", "there false")
	again := there.register(t, "t", "there")
	want("here true", "there true")
	there.Release(again.Link, wire.CauseDrained.String())
	want("here true", "there false")
	if err := there.Forget(t.Context(), again.AgentKey); err != nil {
		t.Fatal(err)
	}
	want("here true")

	short := quickly(t, store.RedisConfig{URL: server.URL(), Keep: keep}, store.Pace{})
	gone := short.register(t, "t", "there")
	short.Release(gone.Link, wire.CauseDrained.String())
	want("here true", "there false")
	want("here true") // once nobody keeps it any longer

	server.Do("DEL", here.indexKey("t"))
	want("here true")
}

// What ends by itself is no change of a record.
func TestAListingFollowsLinksOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := follower(t, server, time.Hour)
	l := r.register(t, "t", "a")
	key := r.agentKey(l.AgentKey)
	fields := strings.Fields(server.Do("HGET", key, "links"))
	fields[2] = fmt.Sprint(time.Now().Add(2 * time.Second).UnixMilli())
	server.Do("HSET", key, "links", strings.Join(fields, " "))
	server.Do("ZADD", r.indexKey("t"), time.Now().Add(time.Second).UnixMilli(), "a")
	for _, want := range []bool{true, false} {
		storetest.WaitUntil(t, within, fmt.Sprint("it is listed as linked: ", want), func() bool {
			agents, err := r.List(t.Context(), "t")
			return err == nil && agents[0].Connected() == want
		})
	}
}

// Redis's clock may be set back.
func TestAListingFollowsWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r, other := follower(t, server, time.Hour), replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	other.register(t, "t", "first")
	server.Do("ZADD", r.indexKey("t"), time.Now().Add(time.Hour).UnixMilli(), "first")
	listed := func(n int) func() bool {
		return func() bool {
			agents, err := r.List(t.Context(), "t")
			return err == nil && len(agents) == n
		}
	}
	storetest.WaitUntil(t, within, "one is listed", listed(1))
	other.register(t, "t", "second")
	storetest.WaitUntil(t, within, "both are listed", listed(2))
}

// A replica that ends without a word changes no record.
func TestAListingFollowsTheEndOfALease(t *testing.T) {
	t.Parallel()
	const lease = 800 * time.Millisecond
	server := storetest.StartRedis(t)
	pace := brief(lease)
	pace.Whole, pace.Listed = time.Hour, 1
	r, dead := newMutable(t, server, pace), newMutable(t, server, pace)
	l := dead.register(t, "t", "a")
	linked := func(is bool) func() bool {
		return func() bool {
			agents, err := r.List(t.Context(), "t")
			return err == nil && len(agents) == 1 && agents[0].Connected() == is
		}
	}
	storetest.WaitUntil(t, within, "it is linked", linked(true))
	join := dead.cut(server)
	storetest.WaitUntil(t, within, "it is not", linked(false))
	join()
	storetest.WaitUntil(t, within, "it is again", linked(true))
	if dead.Has(storetest.LostTo(l.Link, wire.ErrSuperseded)) {
		t.Error("it was lost to nobody")
	}
}
