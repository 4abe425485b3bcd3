package store_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// details are those of the tenant's youngest events.
func (r *replica) details(t *testing.T, tenant string, most int) (all []string) {
	t.Helper()
	page, err := r.EventsBefore(t.Context(), tenant, wire.EventID{}, most)
	if err != nil {
		return nil
	}
	for _, e := range page.Events {
		all = append(all, e.Detail)
	}
	return all
}

// awaitEvents waits until these are a tenant's youngest events.
func (r *replica) awaitEvents(t *testing.T, tenant string, want ...string) {
	t.Helper()
	storetest.WaitUntil(t, within, fmt.Sprintf("the events %q", want), func() bool {
		return slices.Equal(r.details(t, tenant, len(want)), want)
	})
}

// What happens while Redis is away is told when it is back, once, and by every
// replica: as of when it happened.
func TestEventsWaitForRedis(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Prefix: "p:", Keep: time.Hour})
	all[0].Record(storetest.NewEvent("t", "a", 1))
	all[1].awaitEvents(t, "t", "1")
	server.Pause()
	for i := 2; i < 5; i++ {
		e := storetest.NewEvent("t", "a", i)
		e.Time = e.Time.Add(-time.Minute)
		all[0].Record(e)
	}
	for range 2 { // as long as this takes they were written in vain
		if _, err := all[1].EventsBefore(t.Context(), "t", wire.EventID{}, 1); err == nil {
			t.Error("a Redis that stands still answers")
		}
	}
	server.Kill()
	server.Start()
	all[1].awaitEvents(t, "t", "2", "3", "4")
	page, err := all[1].EventsAfter(t.Context(), "t", wire.EventID{}, 10)
	if err != nil || len(page.Events) != 3 {
		t.Fatalf("%+v, %v", page, err)
	}
	if age := time.Since(page.Events[0].Time); age < 50*time.Second || age > 5*time.Minute {
		t.Errorf("the first is %v old", age)
	}
	if lost := all[0].count(t, "events_lost_total"); lost != 0 {
		t.Errorf("%v were lost", lost)
	}
}

// A tenant that has much to say while Redis is away leaves room for the others, and
// what was too much is counted.
func TestEventsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := open(t, store.RedisConfig{URL: server.URL(), Prefix: "p:", Keep: time.Hour})
	const many = 100_000
	for i := range many {
		r.Record(storetest.NewEvent("loud", "a", i))
	}
	r.Record(storetest.NewEvent("quiet", "a", 0))
	lost := r.count(t, "events_lost_total")
	if kept := many - lost; kept > 16<<10+1 || kept < 12<<10 {
		t.Errorf("%v of %v wait", kept, many)
	}
	run(t, r)
	r.awaitEvents(t, "quiet", "0")
	r.awaitEvents(t, "loud", fmt.Sprint(many-2), fmt.Sprint(many-1))
	if got := r.count(t, "events_lost_total"); got != lost {
		t.Errorf("%v more were lost", got-lost)
	}
	if got := r.count(t, "events_written_total"); got != many-lost+1 {
		t.Errorf("%v were written", got)
	}
}

// What ends with the replica is written before it has ended.
func TestTheLastEventsAreWritten(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := replicas(t, 2, store.RedisConfig{URL: server.URL(), Prefix: "p:", Keep: time.Hour})
	for i := range 3000 {
		all[0].Record(storetest.NewEvent("t", "a", i))
	}
	all[0].stop()
	if got := all[1].details(t, "t", 1); !slices.Equal(got, []string{"2999"}) {
		t.Errorf("the last is %q", got)
	}
}

// Events that Redis may not take are lost, which is told once; nothing else is.
func TestEventsThatRedisRefusesAreLost(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-xadd")
	var out syncBuffer
	r := replicas(t, 1, store.RedisConfig{URL: "redis://u:p@" + server.Addr(), Keep: time.Hour, Logger: slog.New(slog.NewTextHandler(&out, nil))})[0]
	for i := range 3 {
		r.Record(storetest.NewEvent("t", "a", i))
		storetest.WaitUntil(t, within, "it is lost", func() bool { return r.count(t, "events_lost_total") == float64(i+1) })
	}
	l := r.register(t, "t", "a")
	storetest.WaitUntil(t, within, "the agent is linked", r.linked(t, l))
	server.Do("ACL", "SETUSER", "u", "+xadd")
	r.Record(storetest.NewEvent("t", "a", 9))
	r.awaitEvents(t, "t", "9")
	if n := strings.Count(out.String(), "redis does not take events"); n != 1 {
		t.Errorf("told %d times:\n%s", n, out.String())
	}
}

// What others have written where a journal stands spoils nothing, and is counted.
func TestAJournalThatIsNone(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, store.RedisConfig{URL: server.URL(), Prefix: "p:", Keep: time.Hour})[0]
	server.Do("SET", "p:events:t", "x")
	if _, err := r.EventsAfter(t.Context(), "t", wire.EventID{}, 1); err == nil {
		t.Error("a text is read as a journal")
	}
	r.Record(storetest.NewEvent("t", "a", 1))
	r.awaitEvents(t, "t", "1")
	for _, text := range []string{"x", `{}`, `{"kind":"closed","tenant":"other","agent":"a"}`, `{"kind":"closed","tenant":"t","agent":"a","detail":"<\n>"}`} {
		server.Do("XADD", "p:events:t", "*", "event", text)
	}
	server.Do("XADD", "p:events:t", "*", "event", `{"kind":"of_a_later_version","tenant":"t","agent":"a","new":1}`)
	page, err := r.EventsAfter(t.Context(), "t", wire.EventID{}, 6)
	if err != nil || len(page.Events) != 2 || page.Events[1].Kind != "of_a_later_version" || !page.More {
		t.Errorf("%+v, %v", page, err)
	}
	if n := r.count(t, "directory_bad_records_total"); n != 4 {
		t.Errorf("%v bad ones are counted", n)
	}
}

// Without Redis, too, an event is kept for a day, and many tenants' journals take no
// more than some.
func TestMemoryForgetsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryConfig{Keep: time.Hour})
		storetest.Start(t, m)
		count := func(tenant string) int {
			page, err := m.EventsBefore(t.Context(), tenant, wire.EventID{}, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			return len(page.Events)
		}
		m.Record(storetest.NewEvent("old", "a", 0))
		time.Sleep(12 * time.Hour)
		m.Record(storetest.NewEvent("old", "a", 1))
		time.Sleep(12*time.Hour + 2*time.Minute)
		if n := count("old"); n != 1 {
			t.Errorf("%d are kept after a day", n)
		}
		total := 0
		for i := range 8 {
			for range 9_000 {
				m.Record(storetest.NewEvent(fmt.Sprint("t", i), "a", 0))
			}
		}
		for i := range 8 {
			total += count(fmt.Sprint("t", i))
		}
		if n := count("old"); n != 1 || total > 40_000 || count("t7") < 4_000 {
			t.Errorf("%d are kept, %d of them the last one's; of one that has few %d", total, count("t7"), n)
		}
	})
}
