package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	read := s.lookUp(ctx, key)
	s.complain(read.flaws)
	if read.err != nil {
		return nil, fmt.Errorf("look up: %w", read.err)
	}
	if read.agent != nil {
		return read.agent, nil
	}
	// Emptied this very moment?
	if err := s.observe(ctx); err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	return nil, s.health.uncertain()
}

// lookUp reads one record.
func (s *Redis) lookUp(ctx context.Context, key wire.AgentKey) reading {
	return s.readRecords(ctx, key.Tenant, []string{key.Agent})[0]
}

func (s *Redis) reader() *reader { return &reader{lists: s.lists, judge: s.judge} }

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
			return merge(before, agents, s.health.lastDisturbed(), s.timing.lease), nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return agents, nil
}

// readRecords reads the agents' records. Where links stand on leases of which nothing
// is known, it asks, and reads those again; and so it does where a list has gone, for
// the record may name another by now.
func (s *Redis) readRecords(ctx context.Context, tenant string, names []string) []reading {
	read := s.fetch(ctx, tenant, names)
	var again []int
	var doubtful []leaseID
	for i := range read {
		if len(read[i].doubtful) > 0 || errors.Is(read[i].err, errLostList) {
			again = append(again, i)
			doubtful = append(doubtful, read[i].doubtful...)
		}
	}
	if len(again) == 0 {
		return read
	}
	if len(doubtful) > 0 {
		s.doubt(ctx, doubtful)
	}
	once := make([]string, len(again))
	for j, i := range again {
		once[j] = names[i]
	}
	for j, r := range s.fetch(ctx, tenant, once) {
		read[again[j]] = r
	}
	return read
}

// fetch reads records on all processors: the long part of a listing whose target
// lists are new.
func (s *Redis) fetch(ctx context.Context, tenant string, names []string) []reading {
	calls := make([]call, len(names))
	for i, name := range names {
		calls[i] = s.lookupCall(wire.AgentKey{Tenant: tenant, Agent: name})
	}
	cmds := runCalls(ctx, s.clients.directory, calls)
	records, reader := make([]reading, len(cmds)), s.reader()
	read := func(i int) { records[i] = reader.read(wire.AgentKey{Tenant: tenant, Agent: names[i]}, cmds[i]) }
	onAllProcessors(len(cmds), read)

	var lists []wire.ListHash
	var lacking []int
	for i := range records {
		if len(records[i].lists) > 0 {
			lists, lacking = append(lists, records[i].lists...), append(lacking, i)
		}
	}
	if len(lacking) == 0 {
		return records
	}
	slices.SortFunc(lists, wire.ListHash.Compare)
	fetched, err := s.readLists(ctx, tenant, slices.Compact(lists))
	reader.fetched = fetched
	for _, i := range lacking {
		if err != nil {
			records[i] = reading{err: err}
		} else {
			read(i)
		}
	}
	return records
}

// onAllProcessors does n things.
func onAllProcessors(n int, do func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	workers.Wait()
}

// bury notes in records since when links are no more whose replica has gone without
// a word. It is best effort: the next who lists them does it again.
func (s *Redis) bury(ctx context.Context, tenant string, read []reading) {
	var calls []call
	var names []any
	for i := range read {
		r := &read[i]
		if len(r.ended) == 0 || r.agent == nil {
			continue
		}
		args := []any{keepFor(r.agent.Last.Ephemeral, s.config.Keep).Milliseconds()}
		for id, since := range r.ended {
			args = append(args, int64(id), time.Since(since).Milliseconds())
		}
		calls = append(calls, call{script: s.scripts.bury, key: s.keys.agent(r.agent.AgentKey), args: args})
		names = append(names, r.agent.Agent)
	}
	if len(calls) == 0 {
		return
	}
	lists := make(unnamed)
	for i, cmd := range runCalls(ctx, s.clients.directory, append(calls, s.indexCall(tenant, names)))[:len(names)] {
		dropped, _ := cmd.Text()
		agent, _ := names[i].(string)
		lists.add(wire.AgentKey{Tenant: tenant, Agent: agent}, dropped)
	}
	s.unname(ctx, lists)
}

// merge brings a listing from before Redis was disturbed up to date with what is
// back in it. For the time of a lease, the links from before may be live.
func merge(before, now []wire.Agent, disturbed time.Time, lease time.Duration) []wire.Agent {
	mayLive := time.Since(disturbed) < lease
	merged := slices.Clone(now)
	for _, a := range before {
		if _, back := slices.BinarySearchFunc(now, a, byName); back {
			continue
		}
		if !mayLive && a.Connected() {
			a.LastSeen = a.Seen(disturbed)
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
	read := s.lookUp(ctx, key)
	ended := s.endedLeases(slices.Collect(maps.Keys(read.ended))...)
	dropped, err := runCall(ctx, s.clients.directory, call{script: s.scripts.forget, key: s.keys.agent(key), args: []any{ended}}).Text()
	if errors.Is(err, redis.Nil) {
		return wire.ErrConnected
	}
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	lists := make(unnamed)
	lists.add(key, dropped)
	s.unname(ctx, lists)
	runCalls(ctx, s.clients.directory, []call{s.indexCall(key.Tenant, []any{key.Agent}), s.unaccountCall(key.Tenant, []any{key.Agent})}) // else with the next whole listing
	s.listings.forgetAgent(key)
	return nil
}

func byName(a, b wire.Agent) int { return strings.Compare(a.Agent, b.Agent) }
