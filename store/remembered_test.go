package store

import (
	"fmt"
	"runtime"
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
	if wanted := l.wanted(time.Now().Add(time.Hour)); len(wanted) != 0 || l.agents != 0 || l.bytes != 0 {
		t.Errorf("%v are wanted, %d agents and %d bytes counted", wanted, l.agents, l.bytes)
	}
}

// A tenant whose listing is large pays for that itself.
func TestRememberedListingsAreBoundedInBytes(t *testing.T) {
	var l listings
	l.init()
	agent := func(name string, n int) []wire.Agent {
		targets := make([]wire.Target, n)
		for i := range targets {
			targets[i] = wire.Target{Name: fmt.Sprint(i), Labels: map[string]string{"a": "b"}}
		}
		lease := wire.Lease{Targets: targets}
		return []wire.Agent{{AgentKey: wire.AgentKey{Agent: name}, Links: []wire.Lease{lease, lease}, Last: lease}}
	}
	small := agent("small", 1000)
	before, now := heap(), 0
	large := agent("large", 100_000)
	now = heap()
	if w := weight(&large[0]); w < (now-before)*9/10 || w > 2*(now-before) {
		t.Errorf("a weight of %d for %d bytes", w, now-before)
	}
	l.put("small", small)
	for range 3 {
		l.put("large", large)
	}
	for i := 0; i*weight(&large[0]) < maxRememberedBytes; i++ {
		l.put(fmt.Sprint("large", i), large)
	}
	if _, ok := l.get("small"); !ok || l.bytes > maxRememberedBytes {
		t.Errorf("the small one is remembered: %v; %d bytes", ok, l.bytes)
	}
	l.forget(wire.AgentKey{Tenant: "small", Agent: "small"})
	for tenant := range l.tenant {
		l.put(tenant, nil)
	}
	if l.bytes != 0 {
		t.Errorf("%d bytes are counted", l.bytes)
	}
	runtime.KeepAlive(large)
}

// heap is how much of it is in use, in bytes.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
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
