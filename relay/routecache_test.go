package relay

import (
	"fmt"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// TestExpiryIsSpreadOverTicks: scrapes wait for the same lock.
func TestExpiryIsSpreadOverTicks(t *testing.T) {
	c := newRouteCache()
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
	c := newRouteCache()
	now := time.Now()
	linked := wire.AgentKey{Tenant: "t", Agent: "linked"}
	c.put(linked, &wire.Agent{AgentKey: linked, Links: []wire.Lease{{AgentKey: linked}}}, now)
	c.put(wire.AgentKey{Tenant: "t", Agent: "unknown"}, nil, now)
	c.expire(now.Add(time.Second))
	if _, ok := c.get(linked, now.Add(time.Second), freshLinked); !ok || len(c.entries) != 1 {
		t.Errorf("%d entries are left, the linked agent's: %t", len(c.entries), ok)
	}
}
