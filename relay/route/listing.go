package route

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/flight"
	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// freshShown is how long a tenant's listing holds for discovery: with what a
	// directory takes to bring it up to date, what has changed is shown within 1 s.
	freshShown = 400 * time.Millisecond
	// freshListing is how long it holds for proxy mode. It bounds how soon a new
	// address is found there: nobody else would notice that one has moved to another
	// target.
	freshListing = 2 * time.Second
	// staleListing is how old a listing may be for a scrape in proxy mode to be
	// routed by it while the next one is fetched: warm scrapes wait for none.
	staleListing = 10 * time.Second
	// oldListing is the same where the scrape's agent is held here, and could be
	// had without any.
	oldListing = time.Minute
	// keepListing is how long one is kept that nobody has asked for since. While
	// there is one a name that equals another agent's address is told from it, so
	// that is longer than targets are usually scraped apart.
	keepListing = 5 * time.Minute
	// deadListing is how old one may be that cannot be fetched anew: the directory
	// is away, and who had an address then has it.
	deadListing = time.Hour
	// firstListing is how long such a scrape waits if there is none, or an older
	// one only.
	firstListing = 250 * time.Millisecond
	// listTimeout bounds the fetching of one.
	listTimeout = 10 * time.Second
)

// maxListed bounds the targets in all listings that are kept, and with them
// their memory: a target takes some 500 B here, so 100 MB.
const maxListed = 200_000

// listings keep what the directory listed last, by tenant. The zero value is
// empty.
type listings struct {
	mu      sync.Mutex
	tenants map[string]*kept
	targets int                  // in all of them
	version uint64               // the last one given
	changed map[string]time.Time // when links held here last changed what a tenant's listing shows
	flights flight.Group[*wire.Listing]
}

// A kept is one tenant's listing.
type kept struct {
	*wire.Listing
	at   time.Time // when the directory was asked for it
	used time.Time // when somebody last wanted it here
}

// get returns the tenant's listing and how old it is; nil if there is none.
func (c *listings) get(tenant string, now time.Time) (*wire.Listing, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.tenants[tenant]
	if k == nil {
		return nil, 0
	}
	k.used = now
	return k.Listing, now.Sub(k.at)
}

// fresh returns the tenant's listing if it is good enough for discovery: not older
// than freshShown, nor than what this replica knows to have changed.
func (c *listings) fresh(tenant string, now time.Time) *wire.Listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.tenants[tenant]
	if k == nil || now.Sub(k.at) >= freshShown || !k.at.After(c.changed[tenant]) {
		return nil
	}
	k.used = now
	return k.Listing
}

// note notes that a link held here has come, gone or changed its targets.
func (c *listings) note(tenant string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(map[string]time.Time)
	}
	c.changed[tenant] = now
}

// put keeps a listing that was asked for at that time, and gives it the version
// of the one before if discovery shows them alike. The oldest are given up if
// there are too many.
func (c *listings) put(tenant string, l *wire.Listing, at time.Time) *wire.Listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenants == nil {
		c.tenants = make(map[string]*kept)
	}
	before := c.tenants[tenant]
	if before != nil && l.ShownAs(before.Listing) {
		l.Version = before.Version
	} else {
		c.version++
		l.Version = c.version
	}
	if before != nil {
		c.targets -= before.Targets()
	}
	c.tenants[tenant] = &kept{l, at, at}
	c.targets += l.Targets()
	for c.targets > maxListed && len(c.tenants) > 1 {
		c.dropOldest(tenant)
	}
	return l
}

// again returns the tenant's listing if it is of the very same agents: so it was good
// at that time.
func (c *listings) again(tenant string, agents []wire.Agent, at time.Time) *wire.Listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.tenants[tenant]
	if k == nil || len(agents) == 0 || len(agents) != len(k.Agents) || &agents[0] != &k.Agents[0] {
		return nil
	}
	k.at, k.used = at, at
	return k.Listing
}

// dropOldest drops the oldest listing but one. c.mu is held.
func (c *listings) dropOldest(but string) {
	oldest := ""
	for name, k := range c.tenants {
		if name != but && (oldest == "" || k.at.Before(c.tenants[oldest].at)) {
			oldest = name
		}
	}
	c.dropLocked(oldest)
}

// drop forgets a tenant's listing.
func (c *listings) drop(tenant string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(tenant)
}

func (c *listings) dropLocked(tenant string) {
	if k := c.tenants[tenant]; k != nil {
		c.targets -= k.Targets()
		delete(c.tenants, tenant)
	}
}

// stale makes all listings too old for discovery: the directory may be away.
func (c *listings) stale(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.tenants {
		if now.Sub(k.at) < staleListing {
			k.at = now.Add(-staleListing)
		}
	}
}

// expire drops the listings that nobody asks for any longer, and those that are
// too old for anything.
func (c *listings) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tenant, k := range c.tenants {
		if now.Sub(k.used) > keepListing || now.Sub(k.at) > deadListing {
			c.dropLocked(tenant)
		}
	}
	for tenant, at := range c.changed {
		if now.Sub(at) > freshShown { // no listing from before is fresh any longer
			delete(c.changed, tenant)
		}
	}
}

// Listing lists a tenant's agents, linked and departed, as the directory said
// no longer than freshShown ago, or since links held here have changed, or fails; it
// never leaves any out.
func (r *Router) Listing(ctx context.Context, tenant string) (*wire.Listing, *wire.Error) {
	if l := r.kept.fresh(tenant, time.Now()); l != nil {
		return l, nil
	}
	return r.listAnew(ctx, tenant)
}

// Changed forgets what is known of an agent: a link of it that is held here has
// come, gone or changed its targets.
func (r *Router) Changed(k wire.AgentKey, declared []wire.Target) {
	r.cache.forget(k)
	r.kept.note(k.Tenant, time.Now())
	r.notices.declared(k.Tenant, declared, time.Now())
}

// listAnew asks the directory. All who ask at once share one answer.
func (r *Router) listAnew(ctx context.Context, tenant string) (*wire.Listing, *wire.Error) {
	l, err := r.kept.flights.Do(ctx, r.base, tenant, func(ctx context.Context) (*wire.Listing, error) {
		ctx, cancel := context.WithTimeout(ctx, listTimeout)
		defer cancel()
		at := time.Now()
		agents, err := r.Directory.List(ctx, tenant)
		if err != nil {
			return nil, err
		}
		if l := r.kept.again(tenant, agents, at); l != nil {
			return l, nil
		}
		l := r.kept.put(tenant, wire.NewListing(agents), at)
		r.notice(l)
		return l, nil
	})
	switch {
	case err == nil:
		return l, nil
	case ctx.Err() != nil:
		return nil, wire.Ended(ctx)
	}
	return nil, noDirectory(err)
}

// noDirectory is why the directory has not said what it was asked.
func noDirectory(err error) *wire.Error {
	if errors.Is(err, context.DeadlineExceeded) {
		return wire.Errorf(wire.BusUnavailable, "the directory does not answer: %v", err)
	}
	return wire.Errorf(wire.BusUnavailable, "the directory: %v", err) // which may have answered
}

// refresh has a tenant's listing renewed: whoever wants it next has it, or asks
// again.
func (r *Router) refresh(tenant string) {
	ctx, cancel := context.WithTimeout(r.base, listTimeout)
	defer cancel()
	if l, _ := r.listAnew(ctx, tenant); l != nil {
		r.notice(l) // it may be the one from before, and links have come since
	}
}

// Remove drops a departed agent, so that it is no longer listed. It asks the
// directory itself: what a route said is too old for it.
func (r *Router) Remove(ctx context.Context, k wire.AgentKey) error {
	linked := wire.Errorf(wire.BadRequest, "agent %s is linked: stop it first", k.Agent)
	if locals, _ := r.localCandidates(k, nil); len(locals) > 0 { // of which the directory may not know
		return linked
	}
	asking, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	agent, err := r.Directory.Lookup(asking, k)
	r.countLookup(agent, err)
	switch {
	case err != nil:
		return noDirectory(err)
	case agent == nil:
		return wire.UnknownAgent(k.Agent)
	case agent.Connected():
		return linked
	}
	err = r.Directory.Forget(ctx, k)
	switch {
	case errors.Is(err, wire.ErrConnected): // just now
		return linked
	case err != nil:
		return noDirectory(err)
	}
	r.cache.forget(k)
	r.kept.drop(k.Tenant)
	return nil
}
