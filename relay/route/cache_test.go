package route

import (
	"fmt"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// TestExpiryIsSpreadOverTicks: scrapes wait for the same lock.
func TestExpiryIsSpreadOverTicks(t *testing.T) {
	c := newCache()
	now := time.Now()
	for i := range maxRoutes {
		c.put(wire.AgentKey{Tenant: "t", Agent: fmt.Sprint("made-up-", i)}, nil, now)
	}
	later := now.Add(time.Minute)
	for tick, left := 0, maxRoutes; left > 0; tick++ {
		c.expire(later)
		if n := left - len(c.entries); n > expireStep {
			t.Fatalf("tick %d dropped %d entries", tick, n)
		}
		left = len(c.entries)
		if tick > 10*maxRoutes/expireStep {
			t.Fatalf("after %d ticks %d entries are left", tick, left)
		}
	}
}

func TestExpirySparesWhatIsFresh(t *testing.T) {
	c := newCache()
	now := time.Now()
	linked := wire.AgentKey{Tenant: "t", Agent: "linked"}
	c.put(linked, &wire.Agent{AgentKey: linked, Links: []wire.Entry{{AgentKey: linked}}}, now)
	c.put(wire.AgentKey{Tenant: "t", Agent: "unknown"}, nil, now)
	c.expire(now.Add(time.Second))
	if _, ok := c.get(linked, now.Add(time.Second), freshLinked); !ok || len(c.entries) != 1 {
		t.Errorf("%d entries are left, the linked agent's: %t", len(c.entries), ok)
	}
}

func TestHeavyRoutesAreGivenUpFirst(t *testing.T) {
	c := newCache()
	now := time.Now()
	small, large := wire.NewTargetList(make([]wire.Target, 5)), wire.NewTargetList(make([]wire.Target, 20_000))
	linked := func(name string, list *wire.TargetList) wire.AgentKey {
		k := wire.AgentKey{Tenant: "t", Agent: name}
		c.put(k, &wire.Agent{AgentKey: k, Links: []wire.Entry{{AgentKey: k, List: list}, {AgentKey: k, List: list}}}, now)
		return k
	}
	for i := range 1000 {
		linked(fmt.Sprint("small-", i), small)
	}
	for round := range 5 {
		for i := range 100 {
			k := linked(fmt.Sprint("large-", i), large)
			if _, ok := c.get(k, now, freshLinked); !ok {
				t.Fatalf("round %d: what was just asked for is given up", round)
			}
		}
	}
	if c.bytes > maxRouteBytes {
		t.Errorf("%d bytes", c.bytes)
	}
	for i := range 1000 {
		if _, ok := c.get(wire.AgentKey{Tenant: "t", Agent: fmt.Sprint("small-", i)}, now, freshLinked); !ok {
			t.Fatal("a small route was given up for a large one")
		}
	}
	for len(c.entries) > 0 {
		c.expire(now.Add(time.Hour))
	}
	if c.bytes != 0 || len(c.heavy) != 0 {
		t.Errorf("%d bytes and %d heavy routes are left of nothing", c.bytes, len(c.heavy))
	}
}

// An agent's targets may have other names every few seconds, and all be scraped.
func TestLengthsOfTargetsThatAreNoMoreAreForgotten(t *testing.T) {
	c := newCache()
	now := time.Now()
	k := wire.AgentKey{Tenant: "t", Agent: "a"}
	for round := range 100 {
		list := make([]wire.Target, 10)
		for i := range list {
			list[i].Name = fmt.Sprintf("target-%d-%d", round, i)
		}
		c.put(k, &wire.Agent{AgentKey: k, Links: []wire.Entry{{AgentKey: k, List: wire.NewTargetList(list)}}}, now)
		for i := range list {
			c.setLength(k, list[i].Name, 1<<20)
		}
		if n := c.lastLength(k, list[0].Name); n != 1<<20 {
			t.Fatalf("the length of what there is: %d", n)
		}
	}
	if n := len(c.entries[k].lengths); n > 30 {
		t.Errorf("the lengths of %d targets are remembered, of an agent that has 10", n)
	}
}
