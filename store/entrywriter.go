package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

const (
	// batchCalls and batchBytes bound one pipeline: a small part of a second's
	// work for Redis.
	batchCalls = 1024
	batchBytes = 1 << 20
)

// runEntries tells the directory, until ctx ends; then once more, briefly, for
// what was released last.
func (s *Redis) runEntries(ctx context.Context, events wire.StoreEvents) {
	defer close(s.entries.closed)
	tick := time.NewTicker(s.timing.look)
	defer tick.Stop()
	var seen fleet
	for retry := (backoff{}); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-s.entries.kick:
		case <-tick.C:
			s.lookAfter(&seen)
			s.unnameLate(ctx)
		}
		if s.entries.takeUntold() {
			s.renounce()
		}
		former := s.lease.leaving()
		if s.writeQueued(ctx, events) && s.writeNudges(ctx) {
			s.lease.left(former)
			s.noteWrite(ctx, writeLeases, nil)
			retry.reset()
		} else {
			retry.wait(ctx)
			kick(s.entries.kick)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timing.flush)
	defer cancel()
	s.writeQueued(ctx, events)
	s.writeNudges(ctx)
}

// A fleet is what the writer last saw of the other replicas, and when it last went over
// its own links.
type fleet struct {
	known, mixed, inlines bool
	audited               time.Time
}

// lookAfter has links looked for, and entries written that have waited, or that others
// would not find as they are.
func (s *Redis) lookAfter(seen *fleet) {
	now, every := time.Now(), s.timing.audit
	is := fleet{s.roster.known(), s.roster.mixed(), s.roster.inlines(now), seen.audited}
	switch {
	case is.mixed:
		every = s.timing.renew
	case seen.mixed, is.known && !seen.known:
		every = 0 // what they kept for a shorter time, or was entered before it was known who is there
	}
	if is.inlines && seen.known && !seen.inlines {
		s.entries.rewrite() // a replica has come that finds lists nowhere else
	}
	if now.Sub(seen.audited) >= min(every/10, s.timing.renew) { // going over all links takes its time
		is.audited = now
		s.entries.audit(now, every)
	}
	s.entries.relist(now, s.timing.relist)
	*seen = is
}

// writeQueued works the queue off, and reports whether all of it succeeded.
func (s *Redis) writeQueued(ctx context.Context, events wire.StoreEvents) bool {
	for ctx.Err() == nil {
		batch := s.nextBatch()
		if len(batch) == 0 {
			return true
		}
		if !s.writeBatch(ctx, batch, events) {
			return false
		}
	}
	return false
}

// nextBatch takes from the queue what goes in one pipeline.
func (s *Redis) nextBatch() []task {
	var batch []task
	for size := 0; len(batch) < batchCalls && size < batchBytes; {
		t, ok := s.entries.next()
		if !ok {
			break
		}
		size += s.encode(&t)
		batch = append(batch, t)
	}
	return batch
}

// encode makes the task's call and returns how long its long part is.
func (s *Redis) encode(t *task) int {
	l := &t.entry
	keep := keepFor(l.Ephemeral, s.config.Keep)
	stay := (s.timing.stay + keep).Milliseconds()
	t.call = call{key: s.keys.agent(l.AgentKey)}
	switch t.step {
	case stepAudit:
		if t.inlined == s.standsAlone(l.List) {
			t.step, t.claimed = stepHold, nil // its list is to stand elsewhere
			return s.encode(t)
		}
		t.call.script = s.scripts.audit
		t.call.args = []any{string(l.Link), string(l.Instance), int64(s.lease.current()), stay}
	case stepRelease:
		t.call.script = s.scripts.release
		delist := l.Ephemeral && t.cause == agentStopped
		t.call.args = []any{string(l.Link), string(l.Instance), t.cause, keep.Milliseconds(), delist, s.endedLeases(), named(t.named)}
	default:
		t.inlined = !s.standsAlone(l.List)
		var details []byte
		if t.inlined || !t.detailed {
			details = marshalEntry(l, t.inlined)
		}
		hash := l.List.Hash().String()
		if t.inlined {
			hash = "=" + hash
		} else {
			s.entries.naming(t)
		}
		t.size = sizeOf(l.List)
		t.asks = !(t.told && t.size.within(sizeOf(t.before)))
		most := 0
		if t.asks {
			most = s.config.TenantLimits.agentBytes()
		}
		t.call.script = s.scripts.hold
		t.call.args = []any{
			string(l.Link), string(l.Instance), strconv.FormatUint(l.Epoch, 10), t.told, string(l.Replica), l.Shared, l.Yielding,
			int64(s.lease.current()), stay, details,
			hash, t.size.targets, t.size.bytes, most, s.endedLeases(t.ended...), named(t.named),
		}
		return len(details) + len(t.claims)*claimSize
	}
	return 0
}

// marshalEntry encodes an entry, with its list or without.
func marshalEntry(l *wire.Entry, inlined bool) []byte {
	entry := struct {
		*wire.Entry
		Targets *[]wire.Target `json:"targets,omitempty"` // the last: see splitDetails
	}{Entry: l}
	if targets := l.List.All(); inlined {
		entry.Targets = &targets
	}
	b, err := json.Marshal(entry)
	if err != nil {
		panic(fmt.Sprintf("store: entry: %v", err)) // a plain struct always marshals
	}
	return b
}

// writeBatch runs the batch's calls and applies what they answer, and reports
// whether all of it succeeded.
func (s *Redis) writeBatch(ctx context.Context, batch []task, events wire.StoreEvents) bool {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if err := s.stand(ctx); err != nil {
		for i := range batch {
			s.entries.failed(&batch[i], err)
		}
		s.entries.setAway(true)
		return false
	}
	batch, whole := s.admit(ctx, batch, events)
	if len(batch) == 0 {
		s.entries.setAway(!whole)
		return whole
	}
	batch, named := s.nameLists(ctx, batch)
	if whole = whole && named; len(batch) == 0 {
		s.entries.setAway(true)
		return false
	}
	began := time.Now()
	p := s.pipelineOf(batch, began)
	cmds := runCalls(ctx, s.clients.directory, p.calls)
	for _, cmd := range cmds {
		if err := cmd.Err(); deniesWrites(err) {
			s.noteWrite(ctx, writeLeases, err)
			break
		}
	}
	for tenant, at := range p.indexes {
		if whole, err := cmds[at].Int(); err == nil && whole == 0 {
			s.indexWasNone(ctx, tenant)
		}
	}
	for tenant := range p.indexes {
		s.listings.touch(tenant)
	}
	succeeded, lists := 0, make(unnamed)
	for i := range batch {
		if s.applyTask(ctx, &batch[i], p, i, cmds, events) == nil {
			succeeded++
		}
		lists.add(batch[i].entry.AgentKey, batch[i].dropped)
	}
	s.unname(ctx, lists)
	s.entries.setAway(succeeded == 0)
	return whole && succeeded == len(batch)
}

// An entryPipeline is the calls of a batch: those of its tasks first, each at the
// place of its task. The agents' indexes and accounts are completed in the same
// pipeline, which heals one that was lost.
type entryPipeline struct {
	calls   []call
	indexes map[string]int // tenant: place in calls
	claims  map[int]int    // place of a task: in calls
}

func (s *Redis) pipelineOf(batch []task, now time.Time) entryPipeline {
	p := entryPipeline{calls: make([]call, 0, len(batch)+2), indexes: make(map[string]int), claims: make(map[int]int)}
	names := make(map[string][]any)
	sizes := make(map[string][]any)
	for i := range batch {
		t := &batch[i]
		p.calls = append(p.calls, t.call)
		tenant := t.entry.Tenant
		names[tenant] = append(names[tenant], t.entry.Agent)
		if t.step != stepRelease {
			sizes[tenant] = append(sizes[tenant], t.entry.Agent, t.size.targets, t.size.bytes)
		}
	}
	for tenant, agents := range names {
		p.indexes[tenant] = len(p.calls)
		p.calls = append(p.calls, s.indexCall(tenant, agents))
		if len(sizes[tenant]) > 0 {
			p.calls = append(p.calls, s.accountCall(tenant, TenantLimits{}, sizes[tenant]))
		}
	}
	for i := range batch {
		t := &batch[i]
		if t.step != stepHold {
			continue
		}
		if claims, needed := s.claimCall(&t.entry, t.claimed, t.claims, now); needed {
			p.claims[i] = len(p.calls)
			p.calls = append(p.calls, claims)
		}
	}
	return p
}

// applyTask takes what all of a task's calls answered: its own, that of its
// tenant's index, and that of its claims. Its error says that one did not.
func (s *Redis) applyTask(ctx context.Context, t *task, p entryPipeline, i int, cmds []*redis.Cmd, events wire.StoreEvents) error {
	indexed := cmds[p.indexes[t.entry.Tenant]].Err()
	if t.step == stepRelease && indexed != nil { // others would not learn of it
		s.entries.failed(t, indexed)
		return indexed
	}
	if err := s.apply(ctx, t, cmds[i], events); err != nil {
		return err
	}
	if indexed != nil {
		s.entries.failed(t, indexed)
		return indexed
	}
	if at, ok := p.claims[i]; ok {
		return s.applyClaims(t, cmds[at])
	}
	return nil
}

// indexCall adds agents to their tenant's index. It outlives their records.
func (s *Redis) indexCall(tenant string, agents []any) call {
	return call{script: s.scripts.index, key: s.keys.index(tenant), args: append([]any{s.indexKeep().Milliseconds()}, agents...)}
}

// indexKeep is how long what is kept of a tenant outlives its last change.
func (s *Redis) indexKeep() time.Duration { return s.timing.stay + 2*s.config.Keep + time.Hour }
