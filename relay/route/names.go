package route

import (
	"context"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// freshName is how long it holds what a host's name is to a tenant; after
	// that it holds until the answer to the next question is there.
	freshName = 2 * time.Second
	// firstName is how long the very first request to a host waits for that.
	firstName = 250 * time.Millisecond
	// maxNames bounds the hosts that are remembered, and with them what a
	// scraper who makes up hosts can fill: 1 MB.
	maxNames = 4096
)

// nameClaims remember what hosts are to tenants. Requests whose Host is not ours
// are told apart by it, so it answers from memory even if the directory hangs.
// The zero value is empty.
type nameClaims struct {
	mu   sync.Mutex
	byID map[wire.AgentKey]*nameClaim
}

type nameClaim struct {
	claim  wire.Claim
	asked  time.Time     // the last question
	first  chan struct{} // closed when the first one is answered, or was given up
	asking bool
}

// get returns what is known of a host; ask says that the caller must find out,
// and tell set.
func (n *nameClaims) get(k wire.AgentKey, now time.Time) (known nameClaim, ask bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.byID[k]
	if c == nil {
		if len(n.byID) >= maxNames {
			for any := range n.byID { // as good as another
				delete(n.byID, any)
				break
			}
		}
		if n.byID == nil {
			n.byID = make(map[wire.AgentKey]*nameClaim)
		}
		c = &nameClaim{first: make(chan struct{})}
		n.byID[k] = c
	}
	if !c.asking && now.Sub(c.asked) >= freshName {
		c.asking, c.asked, ask = true, now, true
	}
	return *c, ask
}

// set notes an answer; failed keeps what was known.
func (n *nameClaims) set(k wire.AgentKey, known nameClaim, claim wire.Claim, failed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.byID[k]; c != nil && c.first == known.first {
		c.asking = false
		if !failed {
			c.claim = claim
		}
	}
	select {
	case <-known.first:
	default:
		close(known.first)
	}
}

func (n *nameClaims) now(k wire.AgentKey) wire.Claim {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.byID[k]; c != nil {
		return c.claim
	}
	return wire.Unclaimed
}

// ClaimToName says whether a host, in lower case, is the name of a tenant's
// agent, linked or departed. It answers from memory, but for the first request
// to a host, which waits for firstName at the most.
func (r *Router) ClaimToName(ctx context.Context, tenant, host string) wire.Claim {
	k := wire.AgentKey{Tenant: tenant, Agent: host}
	if wire.CheckAgentName(host) != nil {
		return wire.Unclaimed
	}
	if here := r.Links.Of(k); len(here) > 0 {
		if here[0].Pattern() {
			return wire.PatternName
		}
		return wire.BoundName
	}
	known, ask := r.names.get(k, time.Now())
	if ask && !r.Go(func() { r.learnName(k, known) }) {
		r.names.set(k, known, wire.Unclaimed, true)
	}
	select {
	case <-known.first:
		return known.claim
	default:
	}
	wait := time.NewTimer(firstName)
	defer wait.Stop()
	select {
	case <-known.first:
	case <-wait.C:
	case <-ctx.Done():
	}
	return r.names.now(k)
}

func (r *Router) learnName(k wire.AgentKey, known nameClaim) {
	agent, _, failure := r.lookup(r.base, k, freshListing)
	claim := wire.Unclaimed
	if agent != nil {
		claim = agent.NameClaim()
	}
	r.names.set(k, known, claim, failure != nil)
}

// ClaimToAddress says what host:port, in lower case, is to a tenant.
func (r *Router) ClaimToAddress(ctx context.Context, tenant, address string) wire.Claim {
	if claim := r.ClaimToName(ctx, tenant, wire.HostOf(address)); claim != wire.Unclaimed {
		return claim
	}
	l, _ := r.addresses(ctx, tenant, true)
	if l == nil {
		return wire.Unclaimed
	}
	return l.Book().Claimed(address)
}
