package store

import (
	"context"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// memoryJoins are who has joined, without Redis. They end with the process, and no token
// that is older than it is redeemed. Guarded by Memory's mu.
type memoryJoins struct {
	born  time.Time
	names map[wire.AgentKey]joinedName
	uses  map[string]*joinUses // by the token's ID
}

type joinedName struct {
	joiner string
	first  time.Time
}

type joinUses struct {
	forget time.Time
	names  map[string]string // of those who have joined by it
}

func newMemoryJoins() memoryJoins {
	return memoryJoins{born: time.Now().Truncate(time.Millisecond), names: make(map[wire.AgentKey]joinedName), uses: make(map[string]*joinUses)}
}

// Join counts who joins by a token; see [Redis.Join].
func (m *Memory) Join(_ context.Context, j wire.Join) (again bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	joins, now := &m.joins, time.Now()
	switch {
	case j.Minted.After(now):
		return false, &wire.JoinEarlyError{By: j.Minted.Sub(now)}
	case j.Minted.Before(joins.born):
		return false, wire.ErrJoinOld
	}
	used := joins.uses[j.TokenID]
	if used == nil {
		used = &joinUses{names: make(map[string]string)}
	}
	name, again := used.names[j.Joiner]
	holder, held := joins.names[j.AgentKey]
	switch {
	case again && name != j.Agent:
		return false, wire.ErrJoinRenamed
	case held && holder.joiner != j.Joiner && holder.joiner != j.Instead:
		return false, &wire.NameJoinedError{Joiner: holder.joiner, First: holder.first}
	case !held && !again && !j.Free:
		return false, wire.ErrNameInUse
	case !again && len(used.names) >= j.Uses:
		return false, wire.ErrJoinsUsedUp
	}
	first := j.Minted.UTC().Truncate(time.Second)
	if held && holder.joiner == j.Joiner && holder.first.After(first) {
		first = holder.first // by a later token
	}
	joins.names[j.AgentKey] = joinedName{j.Joiner, first}
	used.names[j.Joiner], used.forget = j.Agent, j.Expires.Add(usesStay)
	joins.uses[j.TokenID] = used
	return again, nil
}

// forget forgets the uses of tokens that have ended.
func (j *memoryJoins) forget(now time.Time) {
	for id, used := range j.uses {
		if now.After(used.forget) {
			delete(j.uses, id)
		}
	}
}
