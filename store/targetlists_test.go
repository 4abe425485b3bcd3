package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// place tells a list of targets that was read once from one that was read again.
func place(t *testing.T, r *replica, l wire.Entry) *wire.TargetList {
	t.Helper()
	a, err := r.Lookup(t.Context(), l.AgentKey)
	if err != nil || a == nil || a.Last.List.Len() == 0 {
		t.Fatalf("agent is %+v, %v", a, err)
	}
	for i := range a.Links {
		if a.Links[i].List != a.Last.List {
			t.Error("links of an instance have a list each")
		}
	}
	return a.Last.List
}

// A list of targets is stored with every link of an instance, and read once, as long
// as somebody wants it.
func TestLinksOfAnInstanceShareTheirTargets(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, store.Pace{Refresh: 20 * time.Millisecond, KeepList: time.Second})
	first := r.register(t, "t", "a")
	second := first
	second.Link = wire.NewID[wire.LinkID]()
	r.take(t, second)
	before := place(t, r, first)
	if place(t, r, first) != before {
		t.Error("the next look-up has read it again")
	}
	asked := time.Now()
	storetest.WaitUntil(t, within, "nobody wanted it for long", func() bool { return time.Since(asked) > 2*time.Second })
	if place(t, r, first) == before {
		t.Error("it is kept for nobody")
	}
}

// However many lists there are, those that are kept have a bound.
func TestTargetListsAreBounded(t *testing.T) {
	t.Parallel()
	const lists, fit = 20, 4
	server := storetest.StartRedis(t)
	r := forgetful(t, server, 1000, 1<<30, fit<<20)
	var entries []wire.Entry
	var before []*wire.TargetList
	for i := range lists {
		l := storetest.NewEntry("t", fmt.Sprint("a", i))
		l.Replica, l.List = r.id, wire.NewTargetList([]wire.Target{{Name: "node", Labels: map[string]string{"long": strings.Repeat("x", 1<<20), "n": fmt.Sprint(i)}}})
		entries = append(entries, r.take(t, l))
		before = append(before, place(t, r, l))
	}
	kept := 0
	for i, l := range entries {
		if place(t, r, l) == before[i] {
			kept++
		}
	}
	if kept > fit {
		t.Errorf("%d lists are kept, where %d fit", kept, fit)
	}
}
