package store

import (
	"context"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// Lookup returns what is known of the agent, nil if nothing. Within Grace that
// is [ErrUncertain] instead.
func (m *Memory) Lookup(_ context.Context, key wire.AgentKey) (*wire.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	r := m.record(key, now)
	if r == nil {
		return nil, m.uncertain(now)
	}
	a := r.agent(key, now)
	return &a, nil
}

func (r *record) agent(key wire.AgentKey, now time.Time) wire.Agent {
	a := wire.Agent{AgentKey: key, Links: slices.Clone(r.entries), Last: r.last, LastSeen: r.seen, LastClose: r.cause}
	if a.Connected() {
		a.LastSeen, a.LastClose = now, ""
	}
	slices.SortStableFunc(a.Links, byEpoch)
	r.claims.of(&a)
	return a
}

// uncertain is why an agent that is not here may exist all the same.
func (m *Memory) uncertain(now time.Time) error {
	if left := m.certain.Sub(now); left > 0 {
		return stillUncertain(left)
	}
	return nil
}

// List returns the tenant's agents, sorted by name; within Grace,
// [ErrUncertain].
func (m *Memory) List(_ context.Context, tenant string) ([]wire.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if err := m.uncertain(now); err != nil {
		return nil, err
	}
	agents := []wire.Agent{}
	for key := range m.agents {
		if key.Tenant != tenant {
			continue
		}
		if r := m.record(key, now); r != nil {
			agents = append(agents, r.agent(key, now))
		}
	}
	slices.SortFunc(agents, byName)
	return agents, nil
}

// Forget drops a departed agent's record.
func (m *Memory) Forget(_ context.Context, key wire.AgentKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.agents[key]; r != nil && len(r.entries) > 0 {
		return wire.ErrConnected
	}
	m.forget(key)
	return nil
}
