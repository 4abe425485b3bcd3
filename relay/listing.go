package relay

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// freshListing is how long a tenant's declared addresses hold, and which of an
// agent's targets has which. It bounds how soon a new address is found in proxy
// mode: nobody else would notice that one has moved to another target.
const freshListing = 2 * time.Second

// A listingCache knows which agents declare which proxy address. The zero value
// is empty.
type listingCache struct {
	mu      sync.Mutex
	tenants map[string]*addressBook
}

type addressBook struct {
	holders map[string][]string // agents by address, in lower case
	until   time.Time
}

func (c *listingCache) get(tenant string, now time.Time) *addressBook {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.tenants[tenant]; b != nil && now.Before(b.until) {
		return b
	}
	return nil
}

func (c *listingCache) put(tenant string, b *addressBook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenants == nil {
		c.tenants = make(map[string]*addressBook)
	}
	c.tenants[tenant] = b
}

// holders returns the agents of a tenant that declare an address.
func (r *Relay) holders(ctx context.Context, tenant, address string) ([]string, *wire.Error) {
	if b := r.listings.get(tenant, time.Now()); b != nil {
		return b.holders[address], nil
	}
	answer := r.lookups.DoChan("tenant "+tenant, func() (any, error) {
		ctx, cancel := context.WithTimeout(r.ended, lookupTimeout)
		defer cancel()
		agents, err := r.Directory.List(ctx, tenant)
		if err != nil {
			return nil, err
		}
		b := newAddressBook(agents)
		r.listings.put(tenant, b)
		return b, nil
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return nil, wire.Errorf(wire.BusUnavailable, "the directory does not answer: %v", a.Err)
		}
		return a.Val.(*addressBook).holders[address], nil
	case <-ctx.Done():
		return nil, ended(ctx)
	}
}

func newAddressBook(agents []wire.Agent) *addressBook {
	b := &addressBook{holders: make(map[string][]string), until: time.Now().Add(freshListing)}
	for i := range agents {
		a := &agents[i]
		seen := make(map[string]bool) // an agent may have several paths at one address
		for _, t := range a.Targets() {
			if address := strings.ToLower(t.Address); address != "" && !seen[address] {
				seen[address] = true
				b.holders[address] = append(b.holders[address], a.Agent)
			}
		}
	}
	return b
}

// Agents lists a tenant's agents, linked and departed, or fails; it never
// leaves any out.
func (r *Relay) Agents(ctx context.Context, tenant string) ([]wire.Agent, error) {
	agents, err := r.Directory.List(ctx, tenant)
	if err != nil {
		return nil, wire.Errorf(wire.BusUnavailable, "the directory does not answer: %v", err)
	}
	return agents, nil
}

// Forget drops a departed agent, so that it is no longer listed.
func (r *Relay) Forget(ctx context.Context, k wire.AgentKey) error {
	agent, _, failure := r.lookup(ctx, k, freshLinked)
	switch {
	case failure != nil:
		return failure
	case agent == nil:
		return unknownAgent(k)
	case agent.Connected():
		return wire.Errorf(wire.BadRequest, "agent %s is linked: stop it first", k.Agent)
	}
	if err := r.Directory.Forget(ctx, k); err != nil {
		return wire.Errorf(wire.BusUnavailable, "the directory does not answer: %v", err)
	}
	r.routes.forget(k)
	return nil
}
