package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// Lookup returns what the directory knows of an agent, nil if there is none. An
// error says that the directory is away, or that it was emptied so short a time
// ago that nobody can say.
func (s *Redis) Lookup(ctx context.Context, key wire.AgentKey) (*wire.Agent, error) {
	if s.pulse.isAway() {
		return nil, ErrAway
	}
	a, flaws, err := parseRecord(key, runCall(ctx, s.clients.directory, s.lookupCall(key)), s.standstill())
	if err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	s.complain(flaws)
	if a != nil {
		return a, nil
	}
	// Emptied this very moment?
	if err := s.observe(ctx); err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	if s.pulse.uncertain() {
		return nil, ErrUncertain
	}
	return nil, nil
}

func (s *Redis) lookupCall(key wire.AgentKey) call {
	return call{script: s.scripts.lookup, key: s.keys.agent(key)}
}

// List returns all of a tenant's agents, linked and departed, sorted by name;
// an error if they cannot be known to be all. While an emptied Redis is
// uncertain it answers with what this replica has listed before, brought up to
// date.
func (s *Redis) List(ctx context.Context, tenant string) ([]wire.Agent, error) {
	if s.pulse.isAway() {
		return nil, ErrAway
	}
	agents, err := s.list(ctx, tenant)
	s.listings.ask(tenant)
	if errors.Is(err, ErrUncertain) {
		if before, ok := s.listings.get(tenant); ok {
			return merge(before, agents, s.pulse.sinceDisturbed() < s.timing.lease), nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return agents, nil
}

// list fetches what is there. With ErrUncertain that may not be all.
func (s *Redis) list(ctx context.Context, tenant string) ([]wire.Agent, error) {
	names, err := s.clients.directory.ZRange(ctx, s.keys.index(tenant), 0, -1).Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") && runCall(ctx, s.clients.directory, s.indexCall(tenant, nil)).Val() == int64(0) {
		s.indexWasNone(ctx, tenant)
	}
	if err != nil {
		return nil, err
	}
	standstill := s.standstill()
	agents := make([]wire.Agent, 0, len(names))
	var without []any // names that have no record
	for chunk := range slices.Chunk(names, listChunk) {
		calls := make([]call, len(chunk))
		for i, name := range chunk {
			calls[i] = s.lookupCall(wire.AgentKey{Tenant: tenant, Agent: name})
		}
		for i, cmd := range runCalls(ctx, s.clients.directory, calls) {
			a, flaws, err := parseRecord(wire.AgentKey{Tenant: tenant, Agent: chunk[i]}, cmd, standstill)
			s.complain(flaws)
			switch {
			case err != nil:
				return nil, err
			case a == nil && len(flaws) > 0:
			case a == nil:
				without = append(without, chunk[i])
			default:
				agents = append(agents, *a)
			}
		}
	}
	slices.SortFunc(agents, byName)
	if err := s.observe(ctx); err != nil { // after, or it could be emptied in between
		return nil, err
	}
	if s.pulse.uncertain() {
		return agents, ErrUncertain
	}
	s.listings.put(tenant, agents)
	if len(without) > 0 {
		args := append([]any{unindexAfter.Milliseconds()}, without...)
		_ = runCall(ctx, s.clients.directory, call{script: s.scripts.unindex, key: s.keys.index(tenant), args: args}).Err() // tidying
	}
	return agents, nil
}

// merge brings a listing from before Redis was disturbed up to date with what is
// back in it. For the time of a lease, the links from before may be live.
func merge(before, now []wire.Agent, mayLive bool) []wire.Agent {
	merged := slices.Clone(now)
	for _, a := range before {
		if _, back := slices.BinarySearchFunc(now, a, byName); back {
			continue
		}
		if !mayLive && a.Connected() {
			a.Links, a.LastClose = nil, wire.CauseLost.String()
		}
		merged = append(merged, a)
	}
	slices.SortFunc(merged, byName)
	return merged
}

// Forget drops a departed agent's record. It fails with ErrConnected if the
// agent has a live link.
func (s *Redis) Forget(ctx context.Context, key wire.AgentKey) error {
	gone, err := runCall(ctx, s.clients.directory, call{script: s.scripts.forget, key: s.keys.agent(key)}).Bool()
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	if !gone {
		return ErrConnected
	}
	s.listings.forget(key)
	return nil
}
