package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// names lists a tenant's agents, with the number of their targets.
func (r *replica) names(ctx context.Context, tenant string) (names []string, err error) {
	agents, err := r.List(ctx, tenant)
	for i := range agents {
		names = append(names, fmt.Sprintf("%s %d", agents[i].Agent, len(agents[i].Targets())))
	}
	return names, err
}

// What stands in Redis and is no record is left out of listings and look-ups, is
// named, and goes when its agent's owner writes.
func TestWhatIsNoRecordIsLeftOutAndMended(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	var out syncBuffer
	s := open(t, RedisConfig{URL: server.URL(), Keep: time.Hour, Grace: time.Second, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	s.timing.renew = 200 * time.Millisecond
	owner := run(t, s)
	other := quick(t, 1, server)[0]
	storetest.WaitUntil(t, within, "the directory answers", func() bool { return !owner.pulse.isAway() })
	good, live := owner.register(t, "t", "good"), owner.register(t, "t", "live")
	departed := owner.register(t, "t", "departed")
	owner.Release(departed.Link, wire.CauseDrained.String())
	for _, name := range []string{"stray", "../sd", "two\nlines"} {
		server.Do("ZADD", owner.keys.index("t"), 1, name)
		server.Do("SET", owner.keys.agent(wire.AgentKey{Tenant: "t", Agent: name}), "x")
	}
	server.Do("ZADD", owner.keys.index("t"), 1, "no/name")
	server.Do("HSET", owner.keys.agent(wire.AgentKey{Tenant: "t", Agent: "no/name"}), "links", server.Do("HGET", owner.keys.agent(good.AgentKey), "links"))
	whole := func() {
		t.Helper()
		storetest.WaitUntil(t, within, "the listing is whole", func() bool {
			names, err := owner.names(t.Context(), "t")
			return err == nil && slices.Equal(names, []string{"departed 1", "good 1", "live 1"})
		})
	}
	whole()
	for _, name := range []string{"stray", "../sd"} {
		if a, err := owner.Lookup(t.Context(), wire.AgentKey{Tenant: "t", Agent: name}); a != nil || err != nil {
			t.Errorf("%s is %v, %v", name, a, err)
		}
	}
	if text := out.String(); !strings.Contains(text, "redis holds a record") || strings.Count(text, "redis holds a record") != 1 {
		t.Errorf("the log is\n%s", text)
	}
	if n := testutil.ToFloat64(owner.metrics.badRecords); n < 4 {
		t.Errorf("%v are counted", n)
	}

	key := owner.keys.agent(live.AgentKey)
	t.Run("something else under the key", func(t *testing.T) {
		server.Do("SET", key, "x")
		whole()
	})
	t.Run("a list of targets that nobody may declare", func(t *testing.T) {
		bad := live
		bad.Targets = []wire.Target{{Name: "../sd"}}
		server.Do("HSET", key, "d:"+string(live.Link), marshalLease(&bad))
		if a, err := other.Lookup(t.Context(), live.AgentKey); err != nil || len(a.Targets()) != 0 || len(a.Links) != 1 {
			t.Errorf("agent is %+v, %v", a, err)
		}
		whole()
	})
	t.Run("another agent's lease", func(t *testing.T) {
		server.Do("HSET", key, "d:"+string(live.Link), server.Do("HGET", owner.keys.agent(good.AgentKey), "d:"+string(good.Link)))
		_, _ = owner.Lookup(t.Context(), live.AgentKey)
		whole()
	})
	t.Run("an epoch that no number holds", func(t *testing.T) {
		server.Do("HSET", key, "links", strings.Replace(server.Do("HGET", key, "links"), fmt.Sprint(live.Epoch), "18446744073709551615", 1))
		whole()
	})
	t.Run("something else in the place of the index", func(t *testing.T) {
		server.Do("SET", owner.keys.index("t"), "x")
		whole()
	})
	t.Run("something else in the place of the generation", func(t *testing.T) {
		generation := owner.keys.generation("0")
		server.Do("DEL", generation)
		server.Do("HSET", generation, "a", "b")
		storetest.WaitUntil(t, within, "there is a generation", func() bool { return server.Do("TYPE", generation) == "string" })
		whole()
	})
	if !bytes.Equal([]byte(owner.links(t, good.AgentKey)[0]), []byte(good.Link)) {
		t.Error("another agent has lost its link")
	}
}

// A list of targets is stored with every link of an instance, and read once.
func TestLinksOfAnInstanceShareTheirTargets(t *testing.T) {
	first := storetest.NewLease("t", "a")
	second := first
	second.Link = wire.NewID[wire.LinkID]()
	line := func(l *wire.Lease) string {
		return fmt.Sprintf("%s 5 20 10 0 %s %s", l.Link, l.Instance, l.Replica)
	}
	lists := newTargetLists()
	read := func() *wire.Agent {
		a, flaws := decodeRecord(first.AgentKey, 15, 0, map[string]string{
			"links":                    line(&first) + "\n" + line(&second),
			"d:" + string(first.Link):  string(marshalLease(&first)),
			"d:" + string(second.Link): string(marshalLease(&second)),
		}, lists)
		if len(flaws) > 0 || len(a.Links) != 2 || &a.Links[0].Targets[0] != &a.Links[1].Targets[0] {
			t.Errorf("agent is %+v, %v", a, flaws)
		}
		return a
	}
	one, again := read(), read()
	if &one.Last.Targets[0] != &again.Last.Targets[0] {
		t.Error("the next listing has read it again")
	}
	lists.sweep(time.Now().Add(time.Hour))
	if lists.bytes != 0 || len(lists.lists) != 0 {
		t.Errorf("%d bytes in %d lists are kept for nobody", lists.bytes, len(lists.lists))
	}
}

// However many lists there are, the memory of those that are kept has a bound.
func TestTargetListsAreBounded(t *testing.T) {
	lists := newTargetLists()
	for i := range 100 {
		targets := []wire.Target{{Name: "node", Path: "/", Labels: map[string]string{"long": strings.Repeat("x", 1<<20), "n": fmt.Sprint(i)}}}
		list, err := json.Marshal(targets)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := lists.read(string(list)); err != nil || !reflect.DeepEqual(got, targets) {
			t.Fatalf("read as %d targets, %v", len(got), err)
		}
		if lists.bytes > maxLists || len(lists.lists) > maxLists>>20 {
			t.Fatalf("%d bytes in %d lists", lists.bytes, len(lists.lists))
		}
	}
}

// What it takes to read the record of an agent with two links and 10,000 targets,
// the first time and again:
//
//	go test -run - -bench Record ./store
func BenchmarkRecord(b *testing.B) {
	first := storetest.NewLease("t", "a")
	first.Targets = nil
	for i := range 10_000 {
		first.Targets = append(first.Targets, wire.Target{Name: fmt.Sprintf("target-%05d", i), Scheme: "http", Port: 9100, Path: "/metrics",
			Address: fmt.Sprintf("10.1.%d.%d:9100", i/250, i%250),
			Labels:  map[string]string{"job": "node", "site": "berlin", "rack": fmt.Sprint(i % 40), "team": "storage", "env": "production"}})
	}
	second := first
	second.Link = wire.NewID[wire.LinkID]()
	line := func(l *wire.Lease) string { return fmt.Sprintf("%s 5 20 10 0 %s %s", l.Link, l.Instance, l.Replica) }
	fields := map[string]string{
		"links":                    line(&first) + "\n" + line(&second),
		"d:" + string(first.Link):  string(marshalLease(&first)),
		"d:" + string(second.Link): string(marshalLease(&second)),
	}
	lists := newTargetLists()
	read := func(b *testing.B) {
		if a, flaws := decodeRecord(first.AgentKey, 15, 0, fields, lists); len(flaws) > 0 || len(a.Links) != 2 {
			b.Fatal(flaws)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			lists = newTargetLists()
			read(b)
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			read(b)
		}
	})
}
