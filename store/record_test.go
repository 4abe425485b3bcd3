package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
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
	s := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour, Grace: time.Second, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	s.SetPace(store.Pace{Audit: 200 * time.Millisecond})
	owner := run(t, s)
	other := quick(t, 1, server)[0]
	owner.awaitDirectory(t)
	good, live := owner.register(t, "t", "good"), owner.register(t, "t", "live")
	departed := owner.register(t, "t", "departed")
	owner.Release(departed.Link, wire.CauseDrained.String())
	for _, name := range []string{"stray", "../sd", "two\nlines"} {
		server.Do("ZADD", owner.indexKey("t"), 1, name)
		server.Do("SET", owner.agentKey(wire.AgentKey{Tenant: "t", Agent: name}), "x")
	}
	server.Do("ZADD", owner.indexKey("t"), 1, "no/name")
	server.Do("HSET", owner.agentKey(wire.AgentKey{Tenant: "t", Agent: "no/name"}), "links", server.Do("HGET", owner.agentKey(good.AgentKey), "links"))
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
	if n := owner.count(t, "directory_bad_records_total"); n < 4 {
		t.Errorf("%v are counted", n)
	}

	key := owner.agentKey(live.AgentKey)
	t.Run("something else under the key", func(t *testing.T) {
		server.Do("SET", key, "x")
		storetest.WaitUntil(t, within, "its owner has written it anew", func() bool { return server.Do("TYPE", key) == "hash" })
		whole()
	})
	t.Run("a list of targets that nobody may declare", func(t *testing.T) {
		details, err := json.Marshal(live)
		if err != nil {
			t.Fatal(err)
		}
		server.Do("HSET", key, "d:"+string(live.Link), strings.TrimSuffix(string(details), "}")+`,"targets":[{"name":"../sd"}]}`)
		if a, err := other.Lookup(t.Context(), live.AgentKey); err != nil || len(a.Targets()) != 0 || len(a.Links) != 1 {
			t.Errorf("agent is %+v, %v", a, err)
		}
		whole()
	})
	t.Run("another agent's lease", func(t *testing.T) {
		server.Do("HSET", key, "d:"+string(live.Link), server.Do("HGET", owner.agentKey(good.AgentKey), "d:"+string(good.Link)))
		_, _ = owner.Lookup(t.Context(), live.AgentKey)
		whole()
	})
	t.Run("an epoch that no number holds", func(t *testing.T) {
		server.Do("HSET", key, "links", strings.Replace(server.Do("HGET", key, "links"), fmt.Sprint(live.Epoch), "18446744073709551615", 1))
		whole()
	})
	t.Run("something else in the place of the index", func(t *testing.T) {
		server.Do("SET", owner.indexKey("t"), "x")
		whole()
	})
	t.Run("something else in the place of the generation", func(t *testing.T) {
		generation := owner.prefix + "generation:0"
		server.Do("EVAL", "redis.call('DEL', KEYS[1]); redis.call('HSET', KEYS[1], 'a', 'b')", 1, generation)
		storetest.WaitUntil(t, within, "there is a generation", func() bool { return server.Do("TYPE", generation) == "string" })
		whole()
	})
	if !bytes.Equal([]byte(owner.links(t, good.AgentKey)[0]), []byte(good.Link)) {
		t.Error("another agent has lost its link")
	}
}
