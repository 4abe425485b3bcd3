package store

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// maxTidied bounds the tenants of whom it is known when they were tidied.
const maxTidied = 1024

// runListings keeps the listings fresh, and writes back from them what an
// emptied Redis has lost: the departed agents at once, those that were linked
// once their leases would have expired, if nobody has taken them again.
func (s *Redis) runListings(ctx context.Context) {
	refresh := time.NewTicker(s.timing.refresh)
	defer refresh.Stop()
	sweep := time.NewTicker(s.timing.keepList)
	defer sweep.Stop()
	var linked <-chan time.Time
	tidied := make(map[string]time.Time)
	var tidying sync.WaitGroup
	defer tidying.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.health.lacking:
			s.restore(ctx, func(a *wire.Agent) bool { return !a.Connected() })
			linked = time.After(s.timing.lease)
		case <-linked:
			s.restore(ctx, func(*wire.Agent) bool { return true })
			linked = nil
		case <-refresh.C:
			s.refresh(ctx)
		case now := <-sweep.C:
			s.lists.sweep(now.Add(-s.timing.keepList), s.listings.lists())
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
	if s.health.isAway() || s.health.uncertain() != nil {
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
						claims, _ := s.claimCall(&chunk[i].Last, nil, c, time.Now())
						calls = append(calls, claims)
					}
					names = append(names, chunk[i].Agent)
				}
			}
			if len(calls) > 0 {
				// What fails here is lost from the directory: it was best effort.
				runCalls(ctx, s.clients.directory, append(calls, s.indexCall(tenant, names)))
			}
		}
		s.restoreLists(ctx, tenant, slices.DeleteFunc(slices.Clone(agents), func(a wire.Agent) bool { return !want(&a) }))
	}
}

// restoreLists writes back lists of remembered agents whose records name them still: on a
// Cluster the two lie with different masters, of which one may be lost. What fails is
// lost: it is best effort.
func (s *Redis) restoreLists(ctx context.Context, tenant string, agents []wire.Agent) {
	agents = slices.DeleteFunc(slices.Clone(agents), func(a wire.Agent) bool { return a.Last.List.Bytes() <= smallList })
	for chunk := range slices.Chunk(agents, listChunk) {
		pipe := s.clients.directory.Pipeline()
		named := make([]*redis.StringCmd, len(chunk))
		for i := range chunk {
			named[i] = pipe.HGet(ctx, s.keys.agent(chunk[i].AgentKey), "lists")
		}
		exec(ctx, pipe)
		at := make(map[listName]*naming)
		var all []*naming
		for i := range chunk {
			list := chunk[i].Last.List
			name := listName{tenant, list.Hash()}
			if !strings.Contains(named[i].Val(), " "+name.hash.String()+" ") {
				continue
			}
			if at[name] == nil {
				at[name] = &naming{name: name, list: list}
				all = append(all, at[name])
			}
			at[name].agents = append(at[name].agents, chunk[i].Agent)
		}
		s.enterLists(ctx, all, func(*naming, error) {})
	}
}

func (s *Redis) restoreCall(a *wire.Agent) call {
	l := &a.Last
	cause := a.LastClose
	if cause == "" {
		cause = wire.CauseLost.String()
	}
	return call{script: s.scripts.restore, key: s.keys.agent(a.AgentKey), args: []any{
		string(l.Link), l.Epoch, a.Seen(s.health.lastDisturbed()).UnixMilli(), l.Shared, l.Yielding, string(l.Instance), string(l.Replica),
		cause, keepFor(l.Ephemeral, s.config.Keep).Milliseconds(), marshalEntry(l, true),
	}}
}
