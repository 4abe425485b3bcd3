package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// An unnamed list is one that an agent's record does not name any more.
type unnamed map[listName][]any // agents

// add notes the lists that a script says were dropped from an agent's record.
func (u unnamed) add(key wire.AgentKey, dropped string) {
	for _, hash := range parseDropped(dropped) {
		name := listName{key.Tenant, hash}
		u[name] = append(u[name], key.Agent)
	}
}

// unname notes which agents name lists no longer. What Redis does not answer to is done
// later: else the list would stay for as long as the agent may be listed.
func (s *Redis) unname(ctx context.Context, lists unnamed) {
	if len(lists) == 0 {
		return
	}
	names := make([]listName, 0, len(lists))
	calls := make([]call, 0, len(lists))
	for name, agents := range lists {
		names = append(names, name)
		calls = append(calls, call{script: s.scripts.unlist, key: s.keys.list(name), also: []string{s.keys.listNames(name)}, args: append([]any{s.timing.unnamed.Milliseconds()}, agents...)})
	}
	for i, cmd := range runCalls(ctx, s.clients.directory, calls) {
		if cmd.Err() != nil {
			s.stillNamed.add(names[i], lists[names[i]])
		}
	}
}

// A staleName is an agent that is still to be taken out of a list's names.
type staleName struct {
	list  listName
	agent any
}

// stillNamed are those that Redis did not answer to, the oldest first. The zero value has
// none.
type stillNamed struct {
	mu  sync.Mutex
	all []staleName
}

const (
	// maxStillNamed bounds them: beyond, names end by themselves.
	maxStillNamed = 4096
	// unnamedAtOnce is how many are taken out with one look.
	unnamedAtOnce = 64
)

func (n *stillNamed) add(list listName, agents []any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, agent := range agents {
		if len(n.all) < maxStillNamed {
			n.all = append(n.all, staleName{list, agent})
		}
	}
}

func (n *stillNamed) take() []staleName {
	n.mu.Lock()
	defer n.mu.Unlock()
	some := n.all[:min(len(n.all), unnamedAtOnce)]
	if n.all = n.all[len(some):]; len(n.all) == 0 {
		n.all = nil
	}
	return some
}

// unnameLate does some of what unname could not, but for agents whose records name the
// list again by now, or are about to for a link held here.
func (s *Redis) unnameLate(ctx context.Context) {
	some := slices.DeleteFunc(slices.Clone(s.stillNamed.take()), func(n staleName) bool {
		return s.entries.mayName(wire.AgentKey{Tenant: n.list.tenant, Agent: n.agent.(string)}, n.list.hash)
	})
	if len(some) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	pipe := s.clients.directory.Pipeline()
	records := make([]*redis.StringCmd, len(some))
	for i, n := range some {
		records[i] = pipe.HGet(ctx, s.keys.agent(wire.AgentKey{Tenant: n.list.tenant, Agent: n.agent.(string)}), "lists")
	}
	exec(ctx, pipe)
	stale := make(unnamed)
	for i, n := range some {
		switch said, err := records[i].Result(); {
		case err != nil && !errors.Is(err, redis.Nil):
			s.stillNamed.add(n.list, []any{n.agent})
		case !strings.Contains(said, " "+n.list.hash.String()+" "):
			stale[n.list] = append(stale[n.list], n.agent)
		}
	}
	s.unname(ctx, stale)
}
