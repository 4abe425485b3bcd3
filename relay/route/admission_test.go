package route

import (
	"fmt"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// Scrapes that all hang leave places to others: those of one agent to other
// agents, those of agents with tokens for patterns to agents of their tenant with
// tokens for their names, those of a tenant to other tenants. All come back.
func TestPlacesForScrapesAreShared(t *testing.T) {
	of := func(tenant, agent string, pattern bool) *wire.Route {
		return &wire.Route{Agent: wire.AgentKey{Tenant: tenant, Agent: agent}, Target: "t", Pattern: pattern}
	}
	for name, c := range map[string]struct {
		bad    func(i int) *wire.Route
		most   int
		others map[string]*wire.Route // and each of these gets some
	}{
		"an agent": {func(int) *wire.Route { return of("a", "bad", false) }, maxInflight / 2,
			map[string]*wire.Route{"an agent": of("a", "good", false), "of a pattern": of("a", "site-1", true), "another tenant's": of("b", "good", false)}},
		"a pattern's agents": {func(i int) *wire.Route { return of("a", fmt.Sprintf("bad-%d", i%500), true) }, maxInflight * 3 / 5,
			map[string]*wire.Route{"an agent": of("a", "good", false), "another tenant's": of("b", "good", false), "of its pattern": of("b", "site-1", true)}},
		"a tenant": {func(i int) *wire.Route { return of("a", fmt.Sprintf("bad-%d", i%500), false) }, maxInflight * 2 / 3,
			map[string]*wire.Route{"another tenant's": of("b", "good", false)}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGates()
			var in []*wire.Route
			enter := func(rt *wire.Route) bool {
				agent, _ := g.enter(rt, 256, 64)
				if agent != nil {
					in = append(in, rt)
				}
				return agent != nil
			}
			for i := range 3 * maxInflight {
				enter(c.bad(i))
			}
			if len(in) > c.most+1 {
				t.Errorf("%d places are taken, of %d", len(in), maxInflight)
			}
			for other, rt := range c.others {
				for range 100 {
					if !enter(rt) {
						t.Errorf("no place for %s", other)
						break
					}
				}
			}
			for _, rt := range in {
				g.leave(rt.Agent, rt.Target, rt.Pattern)
			}
			if n := g.places.Members() + len(g.byKey) + len(g.patterns); g.inflight() != 0 || n != 0 {
				t.Errorf("%d places and %d entries are left", g.inflight(), n)
			}
		})
	}
}
