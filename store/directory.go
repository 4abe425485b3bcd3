package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

const (
	// listChunk is how many records are fetched in one pipeline.
	listChunk = 256
	// unindexAfter is how long an agent without a record stays in its index: a
	// record and its place there are not written at once.
	unindexAfter = time.Minute
)

// Lookup returns what the directory knows of an agent, nil if there is none. An
// error says that the directory is away, or that it was emptied so short a time
// ago that nobody can say.
func (s *Redis) Lookup(ctx context.Context, key wire.AgentKey) (*wire.Agent, error) {
	if s.health.isAway() {
		return nil, ErrAway
	}
	a, flaws, err := parseRecord(key, runCall(ctx, s.clients.directory, s.lookupCall(key)), s.standstill(), s.lists)
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
	return nil, s.health.uncertain()
}

func (s *Redis) lookupCall(key wire.AgentKey) call {
	return call{script: s.scripts.lookup, key: s.keys.agent(key)}
}

// List returns all of a tenant's agents, linked and departed, sorted by name;
// an error if they cannot be known to be all. While an emptied Redis is
// uncertain it answers with what this replica has listed before, brought up to
// date.
func (s *Redis) List(ctx context.Context, tenant string) ([]wire.Agent, error) {
	if s.health.isAway() {
		return nil, ErrAway
	}
	agents, err := s.list(ctx, tenant)
	s.listings.ask(tenant)
	if errors.Is(err, ErrUncertain) {
		if before, ok := s.listings.get(tenant); ok {
			return merge(before, agents, s.health.sinceDisturbed() < s.timing.lease), nil
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
		for i, r := range s.parseRecords(tenant, chunk, runCalls(ctx, s.clients.directory, calls), standstill) {
			s.complain(r.flaws)
			switch {
			case r.err != nil:
				return nil, r.err
			case r.agent == nil && len(r.flaws) > 0:
			case r.agent == nil:
				without = append(without, chunk[i])
			default:
				agents = append(agents, *r.agent)
			}
		}
	}
	slices.SortFunc(agents, byName)
	if err := s.observe(ctx); err != nil { // after, or it could be emptied in between
		return nil, err
	}
	if err := s.health.uncertain(); err != nil {
		return agents, err
	}
	s.listings.put(tenant, agents)
	if len(without) > 0 {
		args := append([]any{unindexAfter.Milliseconds()}, without...)
		out, _ := runCall(ctx, s.clients.directory, call{script: s.scripts.unindex, key: s.keys.index(tenant), args: args}).Slice() // tidying
		if len(out) > 0 {
			_ = runCall(ctx, s.clients.directory, s.unaccountCall(tenant, out)).Err()
		}
	}
	return agents, nil
}

// A parsed is what a record was read as.
type parsed struct {
	agent *wire.Agent
	flaws []flaw
	err   error
}

// parseRecords reads records on all processors: the long part of a listing whose
// target lists are new.
func (s *Redis) parseRecords(tenant string, names []string, cmds []*redis.Cmd, standstill time.Duration) []parsed {
	records := make([]parsed, len(cmds))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(cmds)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(cmds); i = int(next.Add(1)) - 1 {
				r := &records[i]
				r.agent, r.flaws, r.err = parseRecord(wire.AgentKey{Tenant: tenant, Agent: names[i]}, cmds[i], standstill, s.lists)
			}
		})
	}
	workers.Wait()
	return records
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

// Forget drops a departed agent's record. It fails with [wire.ErrConnected] if the
// agent has a live link.
func (s *Redis) Forget(ctx context.Context, key wire.AgentKey) error {
	gone, err := runCall(ctx, s.clients.directory, call{script: s.scripts.forget, key: s.keys.agent(key)}).Bool()
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	if !gone {
		return wire.ErrConnected
	}
	_ = runCall(ctx, s.clients.directory, s.unaccountCall(key.Tenant, []any{key.Agent})).Err() // else with the next listing
	s.listings.forgetAgent(key)
	return nil
}

func byName(a, b wire.Agent) int { return strings.Compare(a.Agent, b.Agent) }
