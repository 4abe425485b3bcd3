package store

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// publishToCluster publishes each message at the node that its receiver, too,
// subscribes at. go-redis would choose any node for a plain one, and messages by two
// nodes may overtake each other. At that one node they do not, whichever way they go:
// so a sender may change from one to the other between two messages.
func (s *Redis) publishToCluster(ctx context.Context, round []message, cmds []*redis.IntCmd) {
	places := make(map[*redis.Client][]int)
	for i, m := range round {
		node, err := s.clients.cluster.MasterForKey(ctx, s.keys.inbox(m.to))
		if err == nil {
			places[node] = append(places[node], i)
		}
	}
	var nodes sync.WaitGroup
	for node, at := range places {
		nodes.Go(func() { s.publishAt(ctx, node, at, round, cmds) })
	}
	nodes.Wait()
	s.followMoved(ctx, round, cmds)
}

// followMoved publishes where their slot is now what was refused since it has moved:
// none of that was published. A Cluster's own pipeline goes where MOVED says; what it
// may publish twice, its receiver drops.
func (s *Redis) followMoved(ctx context.Context, round []message, cmds []*redis.IntCmd) {
	var moved []int
	for i, cmd := range cmds {
		if cmd == nil {
			continue
		}
		if _, ok := redis.IsMovedError(cmd.Err()); ok {
			moved = append(moved, i)
		}
	}
	if len(moved) > 0 {
		s.publishAt(ctx, s.clients.cluster, moved, round, cmds)
	}
}

// publishAt publishes some messages of a round, by their places in it.
func (s *Redis) publishAt(ctx context.Context, client redis.UniversalClient, places []int, round []message, cmds []*redis.IntCmd) {
	part, sent := make([]message, len(places)), make([]*redis.IntCmd, len(places))
	for j, i := range places {
		part[j] = round[i]
	}
	s.pipeline(ctx, client, part, sent)
	for j, i := range places {
		cmds[i] = sent[j]
	}
}
