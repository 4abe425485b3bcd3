package route

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A candidate is a link that may lead to the target.
type candidate struct {
	epoch     uint64 // 0: local only, the directory was away
	instance  wire.InstanceID
	yielding  bool // its token is for a pattern
	shared    bool
	route     wire.Route // without target and rest
	connected time.Time  // by the clock of the replica that holds the link
	targets   []wire.Target
}

// unsure reports whether nobody has said yet that the instance may have the
// name: a token for a pattern displaces nobody, and the directory was not asked.
func (c *candidate) unsure() bool { return c.epoch == 0 && c.yielding }

// Find finds a route for the scrape that uses none of the tried links.
// Only an unshared agent's link held here needs no directory, if it is sure.
func (r *Router) Find(ctx context.Context, k wire.AgentKey, s *wire.Scrape, tried []wire.LinkID) (*wire.Route, *wire.Error) {
	locals, unsure := r.localCandidates(k, tried)
	shared := len(locals) > 0 && locals[0].shared
	if len(locals) > 0 && !shared && !unsure {
		return choose(newest(locals), k, s)
	}
	most := freshLinked
	if s.Proxy() {
		most = freshListing
	}
	for {
		agent, cached, err := r.lookup(ctx, k, most)
		if err != nil && len(locals) == 0 {
			return nil, err
		}
		if agent == nil && len(locals) == 0 {
			return nil, wire.UnknownAgent(k.Agent)
		}
		if err != nil && unsure {
			agent = r.cache.remembered(k, time.Now())
		}
		candidates := locals
		if unsure {
			candidates = r.giveWay(locals, k, agent)
		}
		if agent != nil {
			candidates = r.addRemote(candidates, agent, tried)
		}
		if len(candidates) == 0 {
			if cached {
				r.cache.forget(k)
				continue
			}
			if err != nil {
				return nil, err
			}
			return nil, wire.Errorf(wire.AgentOffline, "agent %s is known but not linked", k.Agent)
		}
		if unsure && !shared {
			candidates = newest(candidates)
		}
		rt, failure := choose(candidates, k, s)
		if failure != nil && cached {
			r.cache.forget(k) // its targets may have changed since
			continue
		}
		return rt, failure
	}
}

// localCandidates are the usable links held here, and whether any is unsure that
// has to give way to whoever the directory knows.
func (r *Router) localCandidates(k wire.AgentKey, tried []wire.LinkID) (found []candidate, unsure bool) {
	held, doubtful := false, false
	for _, l := range r.Links.Of(k) {
		epoch, targets, usable := l.Current()
		if !usable {
			continue
		}
		c := candidate{epoch, l.Hello().Instance, l.Pattern(), l.Hello().Shared,
			wire.Route{Agent: k, Link: l.ID(), Replica: r.Replica, Local: true}, l.Connected(), targets}
		held, doubtful = held || !c.unsure(), doubtful || c.unsure()
		if !slices.Contains(tried, l.ID()) {
			found = append(found, c)
		}
	}
	if held && doubtful { // tried or not, whoever is sure of the name has it
		found, doubtful = slices.DeleteFunc(found, func(c candidate) bool { return c.unsure() }), false
	}
	return found, doubtful && len(found) > 0
}

// giveWay drops the unsure candidates if the directory knows, or knew, of another
// instance: one that cannot be reached has the name all the same.
func (r *Router) giveWay(locals []candidate, k wire.AgentKey, agent *wire.Agent) []candidate {
	if agent == nil {
		return locals
	}
	return slices.DeleteFunc(slices.Clone(locals), func(c candidate) bool {
		return c.unsure() && slices.ContainsFunc(agent.Links, func(l wire.Entry) bool {
			gone := l.Replica == r.Replica && r.Links.Get(l.Link) == nil
			return l.Instance != c.instance && !gone
		})
	})
}

// yieldingLast orders a token for the name before one for a pattern.
func yieldingLast(a, b candidate) int {
	switch {
	case a.yielding == b.yielding:
		return 0
	case b.yielding:
		return -1
	}
	return 1
}

// byAge orders instances as the directory does, the oldest first. One that has
// no epoch yet came while the directory was away, after those that have; of two
// such the same one is always the younger.
func byAge(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.epoch-1, b.epoch-1), cmp.Compare(a.instance, b.instance)) // 0 wraps to the top
}

// newest drops all instances but the youngest, or the youngest whose token is
// for the name.
func newest(all []candidate) []candidate {
	best := slices.MaxFunc(all, func(a, b candidate) int { return cmp.Or(yieldingLast(b, a), byAge(a, b)) })
	return slices.DeleteFunc(all, func(c candidate) bool { return c.instance != best.instance })
}

// addRemote adds the links that the directory has on other replicas.
func (r *Router) addRemote(candidates []candidate, agent *wire.Agent, tried []wire.LinkID) []candidate {
	for _, entry := range agent.Links {
		if entry.Replica != r.Replica && !slices.Contains(tried, entry.Link) {
			candidates = append(candidates, candidate{entry.Epoch, entry.Instance, entry.Yielding, entry.Shared,
				wire.Route{Agent: agent.AgentKey, Link: entry.Link, Replica: entry.Replica}, entry.Connected, entry.List.All()})
		}
	}
	return candidates
}

// choose takes the lowest epoch that declares the target, so that every edge
// takes the same source, and of its links one held here, else any. The youngest
// goes first: an agent that has lost a link without its replica's noticing has
// made another since.
func choose(candidates []candidate, k wire.AgentKey, s *wire.Scrape) (*wire.Route, *wire.Error) {
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(yieldingLast(a, b), byAge(a, b),
			cmp.Compare(b.route.String(), a.route.String()), // local before bus
			b.connected.Compare(a.connected))
	})
	var failure *wire.Error
	for _, c := range candidates {
		target, rest, err := match(k, c.targets, s)
		if err == nil {
			rt := c.route
			rt.Target, rt.Rest, rt.Pattern = target.Name, rest, c.yielding
			return &rt, nil
		}
		if failure == nil {
			failure = err
		}
	}
	return nil, failure
}

// match finds the target that the scrape means among those of an instance.
func match(k wire.AgentKey, targets []wire.Target, s *wire.Scrape) (*wire.Target, string, *wire.Error) {
	if s.Proxy() {
		return wire.MatchTarget(k.Agent, targets, s.Host, s.Path)
	}
	t := wire.FindTarget(targets, s.Target)
	if t == nil && s.Target == wire.OwnTarget {
		t = &wire.Target{Name: wire.OwnTarget}
	}
	if t == nil {
		return nil, "", wire.Errorf(wire.TargetNotDeclared, "agent %s declares no target %q: declare it in its FARSCRAPE_TARGETS", k.Agent, s.Target)
	}
	if s.Rest != "" && !t.Subtree {
		return nil, "", wire.Errorf(wire.TargetNotDeclared, "target %q has one path only: its URL does not end in /*", t.Name)
	}
	return t, s.Rest, nil
}

// Aimed is the name of the target that a scrape means which went no way, as far as
// it is known: of a proxy-mode one by what its agent last declared.
func (r *Router) Aimed(k wire.AgentKey, s *wire.Scrape) string {
	if !s.Proxy() {
		return s.Target
	}
	if agent := r.cache.remembered(k, time.Now()); agent != nil {
		if t, _, failure := match(k, agent.Targets(), s); failure == nil {
			return t.Name
		}
	}
	return ""
}
