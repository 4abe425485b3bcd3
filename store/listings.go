package store

import (
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// maxListedAgents bounds the agents in all remembered listings, and
	// maxListedBytes what they take: a tenant with 100,000 targets of five labels
	// each.
	maxListedAgents = 50_000
	maxListedBytes  = 96 << 20
)

// listings keeps whole listings up to date, and an emptied Redis takes nothing from
// discovery.
type listings struct {
	mostAgents, mostBytes int

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
	sync   synced
	// touched is when this replica last changed something of it.
	touched time.Time
}

func (l *listings) init() {
	l.mostAgents, l.mostBytes = maxListedAgents, maxListedBytes
	l.tenant = make(map[string]*listing)
}

// ask notes that somebody wants the tenant's listing.
func (l *listings) ask(tenant string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant[tenant] == nil {
		l.tenant[tenant] = &listing{}
	}
	l.tenant[tenant].asked = time.Now()
}

// put keeps a whole listing, unless there is a younger one, and forgets the largest if
// they take too much, of equal ones that least asked for. The agents are not changed
// any more.
func (l *listings) put(tenant string, agents []wire.Agent, sync synced) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant[tenant]
	if t == nil {
		t = &listing{asked: time.Now()}
		l.tenant[tenant] = t
	}
	if t.sync.at.After(sync.at) {
		return
	}
	if !t.whole || len(agents) != len(t.agents) || len(agents) > 0 && &agents[0] != &t.agents[0] {
		l.set(t, agents)
	}
	t.whole, t.sync = true, sync
	for (l.agents > l.mostAgents || l.bytes > l.mostBytes) && len(l.tenant) > 0 {
		largest := ""
		for name, t := range l.tenant {
			o := l.tenant[largest]
			if o == nil || t.bytes > o.bytes || t.bytes == o.bytes && t.asked.Before(o.asked) {
				largest = name
			}
		}
		l.forgetTenant(largest)
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
	var counted []*wire.TargetList
	for i := -1; i < len(a.Links); i++ {
		l := &a.Last
		if i >= 0 {
			l = &a.Links[i]
			n += int(unsafe.Sizeof(*l)) + 128 // its strings
		}
		if !slices.Contains(counted, l.List) {
			counted = append(counted, l.List)
			n += l.List.Size()
		}
	}
	return n
}

// forgetTenant drops a tenant's listing. l.mu is held.
func (l *listings) forgetTenant(tenant string) {
	l.set(l.tenant[tenant], nil)
	delete(l.tenant, tenant)
}

// followed returns the tenant's listing, how far it has followed the changes, and when
// it was touched.
func (l *listings) followed(tenant string) (agents []wire.Agent, sync synced, touched time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tenant[tenant]; t != nil && t.whole {
		return t.agents, t.sync, t.touched
	}
	return nil, synced{}, touched
}

// touch has a tenant's listing brought up to date before it is next answered with: this
// replica has changed something.
func (l *listings) touch(tenant string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tenant[tenant]; t != nil {
		t.touched = time.Now()
	}
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

// lists are the target lists of all listings.
func (l *listings) lists() map[*wire.TargetList]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	lists := make(map[*wire.TargetList]bool)
	for _, t := range l.tenant {
		for i := range t.agents {
			lists[t.agents[i].Last.List] = true
			for j := range t.agents[i].Links {
				lists[t.agents[i].Links[j].List] = true
			}
		}
	}
	return lists
}

// forgetAgent takes one agent out.
func (l *listings) forgetAgent(key wire.AgentKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenant[key.Tenant]
	if t == nil {
		return
	}
	left := slices.DeleteFunc(slices.Clone(t.agents), func(a wire.Agent) bool { return a.Agent == key.Agent })
	l.set(t, left)
}

// wanted returns the tenants asked for since then, and forgets the others.
func (l *listings) wanted(since time.Time) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var tenants []string
	for name, t := range l.tenant {
		if t.asked.Before(since) {
			l.forgetTenant(name)
			continue
		}
		tenants = append(tenants, name)
	}
	return tenants
}
