package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// quick are replicas that look often whether their links are where they should be.
func quick(t *testing.T, n int, server *storetest.RedisServer) (all []*replica) {
	t.Helper()
	for range n {
		all = append(all, quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, store.Pace{Audit: 200 * time.Millisecond}))
	}
	return all
}

// A record that Redis has lost is written anew by replicas in any order, and a
// stranger may be faster than all of them. What the directory has told before
// counts, and what an agent claims does not.
func TestALostRecordIsWrittenAnewInTheOrderThereWas(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	all := quick(t, 3, server)
	register := func(t *testing.T, r *replica, change func(*wire.Entry)) wire.Entry {
		t.Helper()
		l := storetest.NewEntry("t", "a")
		l.Replica = r.id
		change(&l)
		return r.take(t, l)
	}
	lose := func(t *testing.T, l wire.Entry) {
		t.Helper()
		storetest.WaitUntil(t, within, "the next epoch is another", func() bool { return time.Now().UnixMilli() > int64(l.Epoch) })
		server.Do("DEL", all[0].agentKey(l.AgentKey))
	}

	t.Run("shared", func(t *testing.T) {
		shared := func(l *wire.Entry) { l.Shared = true }
		first, second := register(t, all[0], shared), register(t, all[1], shared)
		lose(t, second)
		thief := register(t, all[2], func(l *wire.Entry) { l.Shared, l.Epoch = true, 1 })
		want := []wire.LinkID{first.Link, second.Link, thief.Link}
		storetest.WaitUntil(t, within, "the order is as before", func() bool {
			return slices.Equal(all[0].links(t, first.AgentKey), want)
		})
	})
	for name, yielding := range map[string]bool{"a token for the name": false, "a token for a pattern": true} {
		t.Run(name, func(t *testing.T) {
			named := func(l *wire.Entry) { l.Agent, l.Yielding = "named", yielding }
			holder := register(t, all[0], named)
			lose(t, holder)
			stranger := register(t, all[1], func(l *wire.Entry) { l.Agent, l.Yielding = "named", true })
			all[1].Await(t, within, storetest.LostTo(stranger.Link, wire.ErrNameTaken))
			storetest.WaitUntil(t, within, "the holder is back", all[2].linked(t, holder))
			all[0].Release(holder.Link, wire.CauseDrained.String())
			storetest.WaitUntil(t, within, "the holder has gone", func() bool { return len(all[2].links(t, holder.AgentKey)) == 0 })
		})
	}
}

// A replica of the version before writes records without the field that says who
// yields, and keeps it where it is.
func TestRecordsOfTheVersionBefore(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := quick(t, 1, server)[0]
	pattern := storetest.NewEntry("t", "a")
	pattern.Yielding = true
	if _, err := r.Register(t.Context(), pattern); err != nil {
		t.Fatal(err)
	}
	key := r.agentKey(pattern.AgentKey)
	if server.Do("HGET", key, "yielding") != string(pattern.Link)+" " {
		t.Errorf("the record says that %q yield", server.Do("HGET", key, "yielding"))
	}
	if line := server.Do("HGET", key, "links"); strings.Count(line, " ") != 6 {
		t.Errorf("the line %q has not the seven fields that an older replica reads", line)
	}
	server.Do("HDEL", key, "yielding") // now it is as an older replica writes it
	other := storetest.NewEntry("t", "a")
	other.Yielding = true
	if _, err := r.Register(t.Context(), other); err == nil {
		t.Error("a token for a pattern displaced an entry whose token is not known to be one")
	}
	r.register(t, "t", "a")
}
