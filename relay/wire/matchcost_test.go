package wire_test

import (
	"fmt"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// Each proxy-mode scrape looks through all targets of its agent, and there may be
// 10,000, which one agent can have its scrapers ask for in turn.
func TestMatchingMakesNothing(t *testing.T) {
	targets := make([]wire.Target, wire.MaxTargets)
	for i := range targets {
		targets[i] = wire.Target{Name: fmt.Sprint("t", i), Port: uint16(20_000 + i), Path: "/metrics"}
		if i%2 == 0 {
			targets[i].Address = fmt.Sprintf("Host-%d:80", i)
		}
	}
	for address, want := range map[string]string{"edge:20007": "t7", "host-8:80": "t8"} {
		var got *wire.Target
		allocs := testing.AllocsPerRun(10, func() { got, _, _ = wire.MatchTarget("edge", targets, address, "/metrics") })
		if got == nil || got.Name != want {
			t.Errorf("%s: %v, want %s", address, got, want)
		}
		if allocs > 1 {
			t.Errorf("%s: %.0f allocations", address, allocs)
		}
	}
}

func BenchmarkMatchTarget(b *testing.B) {
	targets := make([]wire.Target, wire.MaxTargets)
	for i := range targets {
		targets[i] = wire.Target{Port: uint16(20_000 + i), Path: "/metrics"}
	}
	for b.Loop() {
		_, _, _ = wire.MatchTarget("edge", targets, "edge:20007", "/metrics")
	}
}
