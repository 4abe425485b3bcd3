package store

import (
	"slices"

	"github.com/farscrape/farscrape/relay/wire"
)

// A tenantAccount is what the agents of a tenant take in a Memory.
type tenantAccount struct{ agents, targets, bytes int }

// taken is what the lists of an agent's links take, with one more: the same list of
// several is one.
func (r *record) taken(entries []wire.Entry, link wire.LinkID, list sizedList) (sum size) {
	seen := make(map[string]bool, 1)
	add := func(l sizedList) {
		if !seen[l.hash] {
			seen[l.hash] = true
			sum.targets, sum.bytes = sum.targets+l.targets, sum.bytes+l.bytes
		}
	}
	add(list)
	for i := range entries {
		if entries[i].Link != link {
			add(r.lists[entries[i].Link])
		}
	}
	return sum
}

// account counts an agent with an entry's target list beside those of other entries,
// unless that is more than it had and more than it, or its tenant, may take. m.mu
// is held.
func (m *Memory) account(r *record, l *wire.Entry, list sizedList, others []wire.Entry) error {
	key, yielding := l.AgentKey, l.Yielding
	s := r.taken(others, l.Link, list)
	if s.bytes > r.size.bytes && s.bytes > m.config.TenantLimits.agentBytes() {
		return m.config.TenantLimits.over("lists", s.bytes, yielding)
	}
	t := m.tenants[key.Tenant]
	if t == nil {
		t = new(tenantAccount)
		m.tenants[key.Tenant] = t
	}
	after := tenantAccount{t.agents, t.targets + s.targets - r.size.targets, t.bytes + s.bytes - r.size.bytes}
	if m.agents[key] != r {
		after.agents++
	}
	most := m.config.TenantLimits.of(yielding)
	for _, c := range []struct {
		what                string
		before, after, most int
	}{
		{"agents", t.agents, after.agents, most.Agents},
		{"targets", t.targets, after.targets, most.Targets},
		{"bytes", t.bytes, after.bytes, most.Bytes},
	} {
		if c.after > c.before && c.after > c.most {
			return m.config.TenantLimits.over(c.what, c.after, yielding)
		}
	}
	*t, r.size = after, s
	if r.lists == nil {
		r.lists = make(map[wire.LinkID]sizedList)
	}
	r.lists[l.Link] = list
	for link := range r.lists {
		if link != l.Link && !slices.ContainsFunc(others, func(o wire.Entry) bool { return o.Link == link }) {
			delete(r.lists, link)
		}
	}
	return nil
}

// release counts a link's list no longer, if the agent has another link. m.mu is
// held.
func (m *Memory) release(key wire.AgentKey, r *record, link wire.LinkID) {
	if len(r.entries) == 0 {
		return
	}
	delete(r.lists, link)
	s := r.taken(r.entries, "", r.lists[r.entries[0].Link])
	t := m.tenants[key.Tenant]
	t.targets, t.bytes = t.targets+s.targets-r.size.targets, t.bytes+s.bytes-r.size.bytes
	r.size = s
}

// forget drops an agent. m.mu is held.
func (m *Memory) forget(key wire.AgentKey) {
	r := m.agents[key]
	if r == nil {
		return
	}
	delete(m.agents, key)
	t := m.tenants[key.Tenant]
	t.agents, t.targets, t.bytes = t.agents-1, t.targets-r.size.targets, t.bytes-r.size.bytes
	if t.agents == 0 {
		delete(m.tenants, key.Tenant)
	}
}
