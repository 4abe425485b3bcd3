package store

import (
	"github.com/farscrape/farscrape/relay/wire"
)

// A tenantAccount is what the agents of a tenant take in a Memory.
type tenantAccount struct{ agents, targets, bytes int }

// account counts an agent with a target list, unless that is more than it had
// and more than its tenant may take. m.mu is held.
func (m *Memory) account(key wire.AgentKey, r *record, s size, yielding bool) error {
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

// drop forgets an agent. m.mu is held.
func (m *Memory) drop(key wire.AgentKey) {
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
