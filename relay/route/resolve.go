package route

import (
	"context"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// Resolve finds the agent that the scrape means, within what its credential
// allows. Whatever lies outside looks the same as what does not exist.
func (r *Router) Resolve(ctx context.Context, s *wire.Scrape) (wire.AgentKey, *wire.Error) {
	k := wire.AgentKey{Tenant: s.Tenant, Agent: s.Agent}
	if s.Proxy() {
		var err *wire.Error
		if k, err = r.resolveAddress(ctx, s); err != nil {
			return k, err
		}
	}
	if s.Allow != "" && !wire.MatchGlob(s.Allow, k.Agent) {
		return k, wire.UnknownAgent(k.Agent)
	}
	return k, nil
}

// addresses is the tenant's listing for a scrape in proxy mode: one that is at
// most staleListing old, and while it is not fresh the next one is fetched
// behind it. A scrape that can be routed without does not wait for long, and takes
// what there is.
func (r *Router) addresses(ctx context.Context, tenant string, wait bool) (*wire.Listing, *wire.Error) {
	l, age := r.kept.get(tenant, time.Now())
	switch {
	case l != nil && age < freshListing:
		return l, nil
	case l != nil && (age < staleListing || !wait && age < oldListing):
		if !r.kept.flights.Underway(tenant) {
			r.Go(func() { r.refresh(tenant) })
		}
		return l, nil
	case !wait:
		ctx, cancel := context.WithTimeout(ctx, firstListing)
		defer cancel()
		if anew, failure := r.listAnew(ctx, tenant); failure == nil {
			l = anew
		}
		return l, nil
	}
	return r.listAnew(ctx, tenant)
}

// resolveAddress finds the agent behind a proxy-mode host:port, among those that
// the credential allows: the one whose claim to it stands. A name or an address
// that came after the listing was fetched is looked for, too.
func (r *Router) resolveAddress(ctx context.Context, s *wire.Scrape) (wire.AgentKey, *wire.Error) {
	k := wire.AgentKey{Tenant: s.Tenant, Agent: wire.HostOf(s.Host)}
	named := wire.CheckAgentName(k.Agent) == nil
	here := named && len(r.Links.Of(k)) > 0
	l, failure := r.addresses(ctx, s.Tenant, !here)
	if l != nil {
		if agent, failure, found := held(l, s); found {
			return wire.AgentKey{Tenant: s.Tenant, Agent: agent}, failure
		}
	}
	if here {
		return k, nil
	}
	if named {
		agent, _, failure := r.lookup(ctx, k, freshLinked)
		if agent != nil || failure != nil {
			return k, failure
		}
	}
	if failure == nil {
		l, failure = r.Listing(ctx, s.Tenant)
	}
	if failure != nil {
		return k, failure
	}
	if agent, failure, found := held(l, s); found {
		return wire.AgentKey{Tenant: s.Tenant, Agent: agent}, failure
	}
	return k, wire.UnknownAgent(k.Agent)
}

// held says which agent of a listing holds the scrape's address, within what its
// credential allows: whatever lies outside looks the same as what does not
// exist. found is false if nobody holds it.
func held(l *wire.Listing, s *wire.Scrape) (agent string, failure *wire.Error, found bool) {
	holders := l.Book().Holders(s.Host)
	if len(holders) == 0 {
		return "", nil, false
	}
	if s.Allow != "" {
		holders = slices.DeleteFunc(slices.Clone(holders), func(a *wire.Agent) bool { return !wire.MatchGlob(s.Allow, a.Agent) })
	}
	switch len(holders) {
	case 0:
		return "", wire.Errorf(wire.AgentUnknown, "no agent is known at %s", s.Host), true
	case 1:
		return holders[0].Agent, nil, true
	}
	return "", wire.Errorf(wire.TargetAmbiguous, "%d agents declared the address %s at the same time", len(holders), s.Host), true
}
