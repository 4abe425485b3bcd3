package store

import (
	"context"
	"errors"
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

// stillNamed are the agents that are still to be taken out of lists' names. The zero
// value has none.
type stillNamed struct {
	mu    sync.Mutex
	lists unnamed
	many  int
}

// maxStillNamed bounds them: beyond, names end by themselves.
const maxStillNamed = 4096

func (n *stillNamed) add(name listName, agents []any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.many += len(agents); n.many > maxStillNamed {
		n.many -= len(agents)
		return
	}
	if n.lists == nil {
		n.lists = make(unnamed)
	}
	n.lists[name] = append(n.lists[name], agents...)
}

func (n *stillNamed) take() unnamed {
	n.mu.Lock()
	defer n.mu.Unlock()
	lists := n.lists
	n.lists, n.many = nil, 0
	return lists
}

// unnameLate does what unname could not, but for agents whose records name the list
// again by now.
func (s *Redis) unnameLate(ctx context.Context) {
	lists := s.stillNamed.take()
	if len(lists) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	rest := make(unnamed)
	for name, agents := range lists {
		for _, agent := range agents {
			names, err := s.namesList(ctx, wire.AgentKey{Tenant: name.tenant, Agent: agent.(string)}, name.hash)
			switch {
			case err != nil:
				s.stillNamed.add(name, []any{agent})
			case !names:
				rest[name] = append(rest[name], agent)
			}
		}
	}
	s.unname(ctx, rest)
}

// namesList reports whether an agent's record names a list, or is about to for a link
// held here.
func (s *Redis) namesList(ctx context.Context, key wire.AgentKey, hash wire.ListHash) (bool, error) {
	if s.entries.mayName(key, hash) {
		return true, nil
	}
	said, err := s.clients.directory.HGet(ctx, s.keys.agent(key), "lists").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, err
	}
	return strings.Contains(said, " "+hash.String()+" "), nil
}
