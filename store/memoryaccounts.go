package store

import "github.com/farscrape/farscrape/relay/wire"

// A tenantAccount is what the agents of a tenant take in a Memory.
type tenantAccount struct{ agents, targets, bytes int }

// taken is what the lists of an agent's links take, with one more: the same list of
// several is one.
func taken(entries []wire.Entry, link wire.LinkID, list *wire.TargetList) size {
	seen := map[wire.ListHash]bool{list.Hash(): true}
	sum := sizeOf(list)
	for i := range entries {
		if l := entries[i].List; entries[i].Link != link && !seen[l.Hash()] {
			seen[l.Hash()] = true
			sum.targets, sum.bytes = sum.targets+l.Len(), sum.bytes+l.Bytes()
		}
	}
	return sum
}

// account counts an agent with an entry's target list beside those of other entries,
// unless that is more than it had and more than it, or its tenant, may take. m.mu
// is held.
func (m *Memory) account(r *record, l *wire.Entry, list *wire.TargetList, others []wire.Entry) error {
	key, yielding := l.AgentKey, l.Yielding
	s := taken(others, l.Link, list)
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
	return nil
}

// release counts the list of a link that has gone no longer, if the agent has another
// link. m.mu is held.
func (m *Memory) release(key wire.AgentKey, r *record) {
	if len(r.entries) == 0 {
		return
	}
	s := taken(r.entries, r.entries[0].Link, r.entries[0].List)
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
