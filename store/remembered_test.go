package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestRememberedListingsAreBounded(t *testing.T) {
	var l listings
	l.init()
	agents := make([]wire.Agent, maxRemembered/2)
	for i := range 3 {
		l.ask(fmt.Sprint(i))
		l.put(fmt.Sprint(i), agents)
	}
	if _, ok := l.get("0"); ok {
		t.Error("the one asked for longest ago is remembered")
	}
	if _, ok := l.get("2"); !ok {
		t.Error("the one asked for last is not remembered")
	}
	if l.put("2", nil); l.agents != len(agents) {
		t.Errorf("%d agents are counted", l.agents)
	}
	if wanted := l.wanted(time.Now().Add(time.Hour)); len(wanted) != 0 || l.agents != 0 {
		t.Errorf("%v are wanted, %d agents counted", wanted, l.agents)
	}
}

func TestMerge(t *testing.T) {
	agent := func(name string, links int) wire.Agent {
		return wire.Agent{AgentKey: wire.AgentKey{Tenant: "t", Agent: name}, Links: make([]wire.Lease, links)}
	}
	before := []wire.Agent{agent("a", 1), agent("b", 1), agent("d", 0)}
	now := []wire.Agent{agent("b", 2), agent("c", 1)}
	for _, mayLive := range []bool{true, false} {
		linksOfA := 0
		if mayLive {
			linksOfA = 1
		}
		want := []wire.Agent{agent("a", linksOfA), agent("b", 2), agent("c", 1), agent("d", 0)}
		got := merge(before, now, mayLive)
		if len(got) != len(want) {
			t.Fatalf("%d agents", len(got))
		}
		for i := range want {
			if got[i].Agent != want[i].Agent || len(got[i].Links) != len(want[i].Links) {
				t.Errorf("agent %d is %s with %d links", i, got[i].Agent, len(got[i].Links))
			}
		}
	}
	if !before[0].Connected() {
		t.Error("the remembered listing was changed")
	}
}
