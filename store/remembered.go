package store

import (
	"context"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// listChunk is how many records are fetched in one pipeline.
	listChunk = 256
	// unindexAfter is how long an agent without a record stays in its index: a
	// record and its place there are not written at once.
	unindexAfter = time.Minute
	// maxRemembered bounds the agents in all remembered listings, and
	// maxRememberedBytes what they take: a tenant with 100,000 targets of five
	// labels each.
	maxRemembered      = 50_000
	maxRememberedBytes = 96 << 20
)

// maxTidied bounds the tenants of whom it is known when they were tidied.
const maxTidied = 1024

// listings remembers whole listings, so that an emptied Redis takes nothing
// from discovery.
type listings struct {
	mu     sync.Mutex
	tenant map[string]*listing
	agents int // in all of them
	bytes  int // theirs, as weight has it
}

type listing struct {
	agents []wire.Agent
	bytes  int
	whole  bool      // agents is a listing, not the wait for one
	asked  time.Time // when somebody last wanted it
}

func (l *listings) init() { l.tenant = make(map[string]*listing) }

// ask notes that somebody wants the tenant's listing.
func (l *listings) ask(tenant string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant[tenant] == nil {
		l.tenant[tenant] = &listing{}
	}
	l.tenant[tenant].asked = time.Now()
}

// put remembers a whole listing, and gives up the largest if they take too much,
// of equal ones that least asked for.
func (l *listings) put(tenant string, agents []wire.Agent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant[tenant]
	if t == nil {
		t = &listing{asked: time.Now()}
		l.tenant[tenant] = t
	}
	l.set(t, slices.Clone(agents))
	t.whole = true
	for (l.agents > maxRemembered || l.bytes > maxRememberedBytes) && len(l.tenant) > 0 {
		largest := ""
		for name, t := range l.tenant {
			o := l.tenant[largest]
			if o == nil || t.bytes > o.bytes || t.bytes == o.bytes && t.asked.Before(o.asked) {
				largest = name
			}
		}
		l.drop(largest)
	}
}

// set changes a tenant's listing. l.mu is held.
func (l *listings) set(t *listing, agents []wire.Agent) {
	bytes := 0
	for i := range agents {
		bytes += weight(&agents[i])
	}
	l.agents += len(agents) - len(t.agents)
	l.bytes += bytes - t.bytes
	t.agents, t.bytes = agents, bytes
}

// weight is about what an agent in a listing takes in memory, in bytes.
func weight(a *wire.Agent) int {
	n := int(unsafe.Sizeof(*a)) + 64*len(a.Claims)
	var counted []*wire.Target // the first of each list
	for i := -1; i < len(a.Links); i++ {
		l := &a.Last
		if i >= 0 {
			l = &a.Links[i]
			n += int(unsafe.Sizeof(*l)) + 128 // its strings
		}
		if len(l.Targets) == 0 || slices.Contains(counted, &l.Targets[0]) {
			continue
		}
		counted = append(counted, &l.Targets[0])
		for j := range l.Targets {
			n += targetWeight(&l.Targets[j])
		}
	}
	return n
}

// targetWeight is about what a target takes: itself, its strings, and a map of
// its labels, whose buckets have eight places.
func targetWeight(t *wire.Target) int {
	n := int(unsafe.Sizeof(*t)) + len(t.Name) + len(t.Scheme) + len(t.Address) + len(t.Path)
	if len(t.Labels) > 0 {
		n += 48 + (len(t.Labels)+7)/8*(8+8*32)
	}
	for name, value := range t.Labels {
		n += len(name) + len(value)
	}
	return n
}

// drop forgets a tenant's listing. l.mu is held.
func (l *listings) drop(tenant string) {
	l.set(l.tenant[tenant], nil)
	delete(l.tenant, tenant)
}

// get returns the tenant's last whole listing.
func (l *listings) get(tenant string) ([]wire.Agent, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant[tenant]
	if t == nil || !t.whole {
		return nil, false
	}
	return t.agents, true
}

// forget takes one agent out.
func (l *listings) forget(key wire.AgentKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant[key.Tenant]
	if t == nil {
		return
	}
	left := slices.DeleteFunc(slices.Clone(t.agents), func(a wire.Agent) bool { return a.Agent == key.Agent })
	l.set(t, left)
}

// wanted returns the tenants asked for since then, and drops the others.
func (l *listings) wanted(since time.Time) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var tenants []string
	for name, t := range l.tenant {
		if t.asked.Before(since) {
			l.drop(name)
			continue
		}
		tenants = append(tenants, name)
	}
	return tenants
}

// runListings keeps the listings fresh, and writes back from them what an
// emptied Redis has lost: the departed agents at once, those that were linked
// once their leases would have expired, if nobody has taken them again.
func (s *Redis) runListings(ctx context.Context) {
	refresh := time.NewTicker(s.timing.refresh)
	defer refresh.Stop()
	var linked <-chan time.Time
	tidied := make(map[string]time.Time)
	var tidying sync.WaitGroup
	defer tidying.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.pulse.lacking:
			s.restore(ctx, func(a *wire.Agent) bool { return !a.Connected() })
			linked = time.After(s.timing.lease)
		case <-linked:
			s.restore(ctx, func(*wire.Agent) bool { return true })
			linked = nil
		case now := <-refresh.C:
			s.refresh(ctx)
			s.lists.sweep(now)
		case tenant := <-s.crowded:
			if time.Since(tidied[tenant]) > s.timing.refresh {
				if len(tidied) >= maxTidied {
					clear(tidied)
				}
				tidied[tenant] = time.Now()
				tidying.Go(func() { s.tidy(ctx, tenant) })
			}
		}
	}
}

// refresh fetches the listings again. What fails stays as it was.
func (s *Redis) refresh(ctx context.Context) {
	if s.pulse.isAway() || s.pulse.uncertain() != nil {
		return
	}
	for _, tenant := range s.listings.wanted(time.Now().Add(-s.timing.asked)) {
		if _, err := s.list(ctx, tenant); err != nil {
			return
		}
	}
}

// restore writes back remembered agents that have no record any longer.
func (s *Redis) restore(ctx context.Context, want func(*wire.Agent) bool) {
	for _, tenant := range s.listings.wanted(time.Time{}) {
		agents, _ := s.listings.get(tenant)
		for chunk := range slices.Chunk(agents, listChunk) {
			var calls []call
			var names []any
			for i := range chunk {
				if want(&chunk[i]) {
					calls = append(calls, s.restoreCall(&chunk[i]))
					if c := claimsOf(&chunk[i]); c != nil {
						calls = append(calls, s.claimCall(&chunk[i].Last, c, time.Now()))
					}
					names = append(names, chunk[i].Agent)
				}
			}
			if len(calls) > 0 {
				// What fails here is lost from the directory: it was best effort.
				runCalls(ctx, s.clients.directory, append(calls, s.indexCall(tenant, names)))
			}
		}
	}
}

func (s *Redis) restoreCall(a *wire.Agent) call {
	l := &a.Last
	cause := a.LastClose
	if cause == "" {
		cause = wire.CauseLost.String()
	}
	return call{script: s.scripts.restore, key: s.keys.agent(a.AgentKey), args: []any{
		string(l.Link), l.Epoch, a.LastSeen.UnixMilli(), l.Shared, l.Yielding, string(l.Instance), string(l.Replica),
		cause, keepFor(l.Ephemeral, s.config.Keep).Milliseconds(), marshalLease(l),
	}}
}
