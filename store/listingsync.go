package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// A listing is read whole once, and then kept up to date from changes: a tenant's
// index has with each agent when its record last changed, by Redis's clock. So a
// directory in which nothing changes is listed for one command, and for none if that
// was a moment ago.

// A synced is how far a listing has followed the changes.
type synced struct {
	at    time.Time // when it was last brought up to date; zero: it never was
	whole time.Time // when it was last read whole
	since occasions // what makes all that was read doubtful, as of then
	doubt bool      // whether links in it stand is not known, or changes without a word

	changes []changesTo          // in order, but for the first those that may not have settled
	fading  map[string]time.Time // agents that have departed, and when their records go
}

// A changesTo is the time of the last change that was read, by Redis's clock in ms,
// and by ours when it was.
type changesTo struct {
	score float64
	read  time.Time
}

// occasions are what makes links stand or fall without a change of any record.
type occasions struct {
	disturbed time.Time // Redis was emptied, replaced or away
	ended     int       // leases
}

func (s *Redis) occasions() occasions {
	s.standing.mu.Lock()
	defer s.standing.mu.Unlock()
	return occasions{s.health.lastDisturbed(), s.standing.endings}
}

// upTo notes the last change that was read now.
func (s *synced) upTo(score float64, now time.Time, settle time.Duration) {
	if n := len(s.changes); n == 0 || score > s.changes[n-1].score {
		s.changes = append(slices.Clip(s.changes), changesTo{score, now})
	}
	for len(s.changes) > 1 && now.Sub(s.changes[1].read) > settle {
		s.changes = s.changes[1:]
	}
}

// from is the time of the first change to be read, that time included, for ZRANGE.
func (s *synced) from() string {
	if len(s.changes) == 0 {
		return "-inf"
	}
	return strconv.FormatFloat(s.changes[0].score, 'f', -1, 64)
}

// has reports whether a change was read, and had settled then.
func (s *synced) has(score float64, now time.Time, settle time.Duration) bool {
	return len(s.changes) > 0 && score <= s.changes[0].score && now.Sub(s.changes[0].read) > settle
}

// fade notes until when an agent's record is there.
func (s *synced) fade(read *reading, keep time.Duration) {
	if !read.agent.Connected() {
		left := keepFor(read.agent.Last.Ephemeral, keep) - read.age
		s.fading[read.agent.Agent] = time.Now().Add(left)
	}
}

// faded are the agents whose records should have gone.
func (s *synced) faded(now time.Time) (names []string) {
	for name, until := range s.fading {
		if now.After(until) {
			names = append(names, name)
		}
	}
	return names
}

// mayFollow reports whether a listing can be brought up to date by what has changed.
func (s *Redis) mayFollow(t *synced, now occasions) bool {
	return !t.at.IsZero() && t.since == now && !t.doubt && time.Since(t.whole) < s.timing.whole && !s.roster.mixed()
}

// list brings a tenant's listing up to date. With ErrUncertain that may not be all.
func (s *Redis) list(ctx context.Context, tenant string) ([]wire.Agent, error) {
	now := s.occasions()
	if agents, sync, touched := s.listings.followed(tenant); s.mayFollow(&sync, now) && s.health.uncertain() == nil {
		if time.Since(sync.at) < s.timing.listed && sync.at.After(touched) {
			return agents, nil
		}
		if agents, ok := s.follow(ctx, tenant, agents, sync); ok {
			return agents, nil
		}
	}
	return s.listWhole(ctx, tenant, now)
}

// follow reads what has changed of a listing. Where that cannot be told, it is not ok.
func (s *Redis) follow(ctx context.Context, tenant string, agents []wire.Agent, sync synced) (now []wire.Agent, ok bool) {
	began := time.Now()
	changed, err := s.clients.directory.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{Key: s.keys.index(tenant), Start: sync.from(), Stop: "+inf", ByScore: true}).Result()
	if err != nil || len(changed) == 0 && len(agents) > 0 {
		return nil, false // what changed last is there, unless the index was lost
	}
	names, before := sync.faded(began), sync
	for _, z := range changed {
		name, _ := z.Member.(string)
		if !before.has(z.Score, began, s.timing.settle) {
			names = append(names, name)
		}
	}
	if n := len(changed); n > 0 {
		sync.upTo(changed[n-1].Score, began, s.timing.settle)
	}
	sync.at = began
	if len(names) == 0 {
		s.listings.put(tenant, agents, sync)
		return agents, true
	}
	slices.Sort(names)
	names = slices.Compact(names) // one may have changed that should have gone
	sync.fading = maps.Clone(sync.fading)
	read, err := s.readAgents(ctx, tenant, names, &sync)
	if err != nil {
		return nil, false
	}
	now = replaced(agents, names, read)
	s.listings.put(tenant, now, sync)
	return now, true
}

// replaced is a listing with the named agents as they were read anew.
func replaced(agents []wire.Agent, names []string, read []wire.Agent) []wire.Agent {
	anew := make(map[string]bool, len(names))
	for _, name := range names {
		anew[name] = true
	}
	left := slices.DeleteFunc(slices.Clone(agents), func(a wire.Agent) bool { return anew[a.Agent] })
	left = append(left, read...)
	slices.SortFunc(left, byName)
	return left
}

// listWhole reads all of a tenant's agents. With ErrUncertain that may not be all.
func (s *Redis) listWhole(ctx context.Context, tenant string, as occasions) ([]wire.Agent, error) {
	began := time.Now()
	index, err := s.clients.directory.ZRangeWithScores(ctx, s.keys.index(tenant), 0, -1).Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") && runCall(ctx, s.clients.directory, s.indexCall(tenant, nil)).Val() == int64(0) {
		s.indexWasNone(ctx, tenant)
	}
	if err != nil {
		return nil, err
	}
	sync := synced{at: began, whole: began, since: as, doubt: s.roster.mixed(), fading: make(map[string]time.Time)}
	names := make([]string, len(index))
	for i, z := range index {
		names[i], _ = z.Member.(string)
	}
	if n := len(index); n > 0 { // in the order of their times
		last, settle := index[n-1].Score, s.timing.settle
		sync.changes = []changesTo{{last - float64(settle.Milliseconds()), began.Add(-2 * settle)}, {last, began}}
	}
	agents, err := s.readAgents(ctx, tenant, names, &sync)
	if err != nil {
		return nil, err
	}
	if err := s.observe(ctx); err != nil { // after, or it could be emptied in between
		return nil, err
	}
	if err := s.health.uncertain(); err != nil {
		return agents, err
	}
	s.listings.put(tenant, agents, sync)
	s.entries.rewriteMissing(tenant, agents, began)
	return agents, nil
}

// readAgents reads the named agents, sorted by name, but for those that have no record:
// they are taken out of the tenant's index.
func (s *Redis) readAgents(ctx context.Context, tenant string, names []string, sync *synced) ([]wire.Agent, error) {
	agents := make([]wire.Agent, 0, len(names))
	var without []any
	var lost error
	for chunk := range slices.Chunk(names, listChunk) {
		read := s.readRecords(ctx, tenant, chunk)
		for i := range read {
			r := &read[i]
			s.complain(r.flaws)
			sync.doubt = sync.doubt || r.timed || len(r.doubtful) > 0
			delete(sync.fading, chunk[i])
			switch {
			case errors.Is(r.err, errLostList): // that all are told of, before this fails
				lost = r.err
			case r.err != nil:
				return nil, r.err
			case r.agent == nil && len(r.flaws) > 0:
			case r.agent == nil:
				without = append(without, chunk[i])
			default:
				agents = append(agents, *r.agent)
				sync.fade(r, s.config.Keep)
			}
		}
		s.bury(ctx, tenant, read)
	}
	if lost != nil {
		return nil, lost
	}
	slices.SortFunc(agents, byName)
	if len(without) > 0 && s.health.uncertain() == nil {
		s.unindex(ctx, tenant, without)
	}
	return agents, nil
}

// unindex takes agents without a record out of their tenant's index, and counts them no
// longer. It is best effort: the next who lists them does it again.
func (s *Redis) unindex(ctx context.Context, tenant string, names []any) {
	args := append([]any{unindexAfter.Milliseconds()}, names...)
	out, _ := runCall(ctx, s.clients.directory, call{script: s.scripts.unindex, key: s.keys.index(tenant), args: args}).Slice()
	if len(out) > 0 {
		_ = runCall(ctx, s.clients.directory, s.unaccountCall(tenant, out)).Err()
	}
}
