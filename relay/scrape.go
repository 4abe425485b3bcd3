package relay

import (
	"context"

	"github.com/farscrape/farscrape/relay/wire"
)

// Scrape has the target asked and returns its answer as soon as it is whole, or
// as its window is nearly full. Until then a lost link costs one retry and
// nothing else. ctx must have the scrape's deadline and must outlive the
// reading of the body. The error is a *wire.Error; an Answer beside it says
// only whom the scrape meant and which way it went.
func (r *Relay) Scrape(ctx context.Context, s *wire.Scrape) (*wire.Answer, error) {
	k, failure := r.routes.Resolve(ctx, s)
	if failure != nil {
		return nil, failure
	}
	rt, done, failure := r.admit(ctx, k, s)
	if failure != nil {
		return &wire.Answer{Agent: k.Agent, Target: r.routes.Aimed(k, s)}, failure
	}
	answer, failure := r.attempts.Scrape(ctx, s, rt, done)
	if failure != nil {
		done()
		return &wire.Answer{Route: rt.String(), Agent: k.Agent, Target: rt.Target}, failure
	}
	return answer, nil
}

// admit finds a route and waits for a place on it. done gives the place back.
func (r *Relay) admit(ctx context.Context, k wire.AgentKey, s *wire.Scrape) (rt *wire.Route, done func(), failure *wire.Error) {
	if rt, failure = r.routes.Find(ctx, k, s, nil); failure != nil {
		return nil, nil, failure
	}
	done, waited, failure := r.routes.Admit(ctx, rt)
	if failure != nil {
		return nil, nil, failure
	}
	if waited { // the link may have gone meanwhile
		if rt, failure = r.routes.Find(ctx, k, s, nil); failure != nil {
			done()
			return nil, nil, failure
		}
	}
	return rt, done, nil
}

// Listing lists a tenant's agents, linked and departed, as they were a moment ago,
// or fails; it never leaves any out.
func (r *Relay) Listing(ctx context.Context, tenant string) (*wire.Listing, *wire.Error) {
	return r.routes.Listing(ctx, tenant)
}

// Forget drops a departed agent, so that it is no longer listed.
func (r *Relay) Forget(ctx context.Context, k wire.AgentKey) error { return r.routes.Remove(ctx, k) }

// ClaimToName says whether a host, in lower case, is the name of a tenant's agent.
func (r *Relay) ClaimToName(ctx context.Context, tenant, host string) wire.Claim {
	return r.routes.ClaimToName(ctx, tenant, host)
}

// ClaimToAddress says what host:port, in lower case, is to a tenant.
func (r *Relay) ClaimToAddress(ctx context.Context, tenant, address string) wire.Claim {
	return r.routes.ClaimToAddress(ctx, tenant, address)
}
