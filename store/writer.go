package store

import (
	"context"
	"encoding/json"
	"errors"
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

// runKeeper tells the directory, until ctx ends; then once more, briefly, for
// what was released last.
func (s *Redis) runKeeper(ctx context.Context, events wire.StoreEvents) {
	defer close(s.keeper.gone)
	tick := time.NewTicker(s.timing.renew / 10)
	defer tick.Stop()
	for retry := (backoff{}); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-s.keeper.kick:
		case <-tick.C:
			s.keeper.renewDue(time.Now())
		}
		if s.writeQueued(ctx, events) {
			s.noteWrite(ctx, writeKeeper, time.Now(), nil)
			retry.reset()
		} else {
			retry.wait(ctx)
			kick(s.keeper.kick)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timing.flush)
	defer cancel()
	s.writeQueued(ctx, events)
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
		t, ok := s.keeper.next()
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
	l := &t.lease
	keep := keepFor(l.Ephemeral, s.config.Keep)
	t.call = call{key: s.keys.agent(l.AgentKey)}
	switch t.step {
	case stepRenew:
		t.call.script = s.scripts.renew
		t.call.args = []any{string(l.Link), string(l.Instance), s.timing.lease.Milliseconds(), keep.Milliseconds()}
	case stepRelease:
		t.call.script = s.scripts.release
		delist := l.Ephemeral && t.cause == agentStopped
		t.call.args = []any{string(l.Link), string(l.Instance), t.cause, keep.Milliseconds(), delist}
	default:
		details := marshalLease(l)
		list := listIn(details)
		t.size = size{len(l.Targets), len(list)}
		t.asks = !(t.told && t.size.within(t.before))
		most := 0
		if t.asks {
			most = s.config.TenantLimits.agentBytes()
		}
		t.call.script = s.scripts.hold
		t.call.args = []any{
			string(l.Link), string(l.Instance), strconv.FormatUint(l.Epoch, 10), t.told, string(l.Replica), l.Shared, l.Yielding,
			s.timing.lease.Milliseconds(), keep.Milliseconds(), details,
			hashOf(list), t.size.targets, t.size.bytes, most,
		}
		return len(details) + len(t.claims)*claimSize
	}
	return 0
}

func marshalLease(l *wire.Lease) []byte {
	b, err := json.Marshal(l)
	if err != nil {
		panic(fmt.Sprintf("store: lease: %v", err)) // a plain struct always marshals
	}
	return b
}

// writeBatch runs the batch's calls and settles what they answer. The agents'
// indexes and accounts are completed in the same pipeline, which heals one that was
// lost.
func (s *Redis) writeBatch(ctx context.Context, batch []task, events wire.StoreEvents) bool {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	batch, whole := s.admit(ctx, batch, events)
	if len(batch) == 0 {
		s.keeper.setAway(!whole)
		return whole
	}
	calls := make([]call, 0, len(batch)+2)
	names := make(map[string][]any)
	sizes := make(map[string][]any)
	for i := range batch {
		t := &batch[i]
		calls = append(calls, t.call)
		if tenant := t.lease.Tenant; t.step != stepRelease {
			names[tenant] = append(names[tenant], t.lease.Agent)
			sizes[tenant] = append(sizes[tenant], t.lease.Agent, t.size.targets, t.size.bytes)
		}
	}
	indexes := make(map[string]int, len(names)) // tenant: place in calls
	for tenant, agents := range names {
		indexes[tenant] = len(calls)
		calls = append(calls, s.indexCall(tenant, agents), s.accountCall(tenant, TenantLimits{}, sizes[tenant]))
	}
	claimed := make(map[int]int) // place in batch: in calls
	now := time.Now()
	for i := range batch {
		if t := &batch[i]; t.step == stepHold {
			claimed[i] = len(calls)
			calls = append(calls, s.claimCall(&t.lease, t.claims, now))
		}
	}
	cmds := runCalls(ctx, s.clients.directory, calls)
	for _, cmd := range cmds {
		if err := cmd.Err(); refusesWrites(err) {
			s.noteWrite(ctx, writeKeeper, now, err)
			break
		}
	}
	for tenant, i := range indexes {
		if whole, err := cmds[i].Int(); err == nil && whole == 0 {
			s.indexWasNone(ctx, tenant)
		}
	}

	succeeded := 0
	for i := range batch {
		t := &batch[i]
		err := s.settle(t, cmds[i], events)
		if err == nil && t.step != stepRelease {
			if err = cmds[indexes[t.lease.Tenant]].Err(); err != nil {
				s.keeper.failed(t, err)
			}
		}
		if at, ok := claimed[i]; err == nil && ok {
			err = s.settleClaims(t, cmds[at])
		}
		if err == nil {
			succeeded++
		}
	}
	s.keeper.setAway(succeeded == 0)
	return whole && succeeded == len(batch)
}

// indexCall adds agents to their tenant's index. It outlives their records.
func (s *Redis) indexCall(tenant string, agents []any) call {
	return call{script: s.scripts.index, key: s.keys.index(tenant), args: append([]any{s.indexKeep().Milliseconds()}, agents...)}
}

// indexKeep is how long what is kept of a tenant outlives its last change.
func (s *Redis) indexKeep() time.Duration { return 2*s.config.Keep + time.Hour }

// settle takes the directory's answer to one task. Its error says that there
// was none.
func (s *Redis) settle(t *task, cmd *redis.Cmd, events wire.StoreEvents) error {
	if err := cmd.Err(); err != nil {
		s.keeper.failed(t, err)
		return err
	}
	switch t.step {
	case stepRelease:
		s.keeper.done(t)
	case stepRenew:
		reply, _ := cmd.Slice()
		switch status, taken := parseRenewal(reply); status {
		case "ok":
			s.keeper.renewed(t, taken, time.Now().Add(s.timing.renew))
		case "gone":
			s.log.Warn("a lease's record is gone from redis; writing all leases again", "agent", t.lease.AgentKey.String())
			s.keeper.rewrite()
		default:
			s.keeper.again(t)
		}
	case stepHold:
		epoch, taken, displaced, err := parseHold(cmd)
		switch {
		case errors.Is(err, errOver):
			s.refuse(t, "lists "+strconv.Itoa(taken.bytes), events)
			return nil
		case errors.Is(err, wire.ErrSuperseded), errors.Is(err, wire.ErrNameTaken):
			if s.keeper.refused(t, err) {
				events.Lost(t.lease.Link, err)
			}
			return nil
		case err != nil:
			s.keeper.failed(t, err)
			return err
		}
		if s.keeper.holding(t, epoch, taken, time.Now().Add(s.timing.renew)) {
			events.Registered(t.lease.Link, epoch)
		}
		for replica, links := range displaced {
			s.tellDisplaced(replica, links)
		}
	}
	return nil
}

// settleClaims takes the directory's answer to a lease's claims.
func (s *Redis) settleClaims(t *task, cmd *redis.Cmd) error {
	known, err := parseClaimed(cmd, time.Now())
	if err != nil {
		s.keeper.failed(t, err)
		return err
	}
	s.keeper.claimed(t, known)
	return nil
}

// tellDisplaced has the replica that holds the links look at their leases now
// and not only when they are due.
func (s *Redis) tellDisplaced(replica wire.ReplicaID, links []wire.LinkID) {
	for _, link := range links {
		s.keeper.rewriteLink(link)
	}
	if replica != s.config.Replica {
		s.outbox.nudge(replica, links)
	}
}

// errOver: the agent's lists would take more than they may.
var errOver = errors.New("over")

// parseRenewal reads renew.lua's reply.
func parseRenewal(reply []any) (status string, taken size) {
	if len(reply) == 0 {
		return "", taken
	}
	status, _ = reply[0].(string)
	if len(reply) == 3 {
		taken, _ = parseSize(fmt.Sprint(reply[1]), fmt.Sprint(reply[2]))
	}
	return status, taken
}

func parseSize(targets, bytes string) (s size, err error) {
	if s.targets, err = strconv.Atoi(targets); err == nil {
		s.bytes, err = strconv.Atoi(bytes)
	}
	return s, err
}

// parseHold reads hold.lua's reply.
func parseHold(cmd *redis.Cmd) (epoch uint64, taken size, displaced map[wire.ReplicaID][]wire.LinkID, err error) {
	reply, err := cmd.StringSlice()
	if err != nil {
		return 0, taken, nil, fmt.Errorf("hold: %w", err)
	}
	switch {
	case len(reply) == 0:
		return 0, taken, nil, fmt.Errorf("hold: %w", errReply)
	case reply[0] == "superseded":
		return 0, taken, nil, wire.ErrSuperseded
	case reply[0] == "taken":
		return 0, taken, nil, wire.ErrNameTaken
	case reply[0] == "over" && len(reply) == 2:
		taken, _ = parseSize("0", reply[1])
		return 0, taken, nil, errOver
	case reply[0] != "ok" || len(reply) < 4 || len(reply)%2 != 0:
		return 0, taken, nil, fmt.Errorf("hold: %w", errReply)
	}
	if epoch, err = strconv.ParseUint(reply[1], 10, 64); err == nil {
		taken, err = parseSize(reply[2], reply[3])
	}
	if err != nil {
		return 0, taken, nil, fmt.Errorf("hold: %w", errReply)
	}
	displaced = make(map[wire.ReplicaID][]wire.LinkID)
	for i := 4; i < len(reply); i += 2 {
		replica := wire.ReplicaID(reply[i])
		displaced[replica] = append(displaced[replica], wire.LinkID(reply[i+1]))
	}
	return epoch, taken, displaced, nil
}
