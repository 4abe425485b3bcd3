package store

import (
	"context"
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// A replica that dies in the middle of a scrape leaves nothing behind that could
// fail: what was asked of it was delivered. So with each look the others look
// who is gone: whoever nobody subscribes for any more, as the kernel sees to when
// a process is killed, or whose lease on life has ended, as that of one that is
// stopped or cut off does.

// missedFor is how many looks in a row a replica must be missed in: one of them
// may fall into a new subscription, or into Redis's coming back.
const missedFor = 2

// noteAbsent returns who has gone: those who were alive once, and are not now.
// r.mu is held.
func (r *roster) noteAbsent() (gone []wire.ReplicaID) {
	for id, o := range r.others {
		if o.alive == r.counts {
			continue
		}
		if o.dead++; o.dead >= missedFor {
			gone = append(gone, id)
			delete(r.others, id)
		}
	}
	return gone
}

// noteListeners takes how many listen to inboxes, and returns to whose nobody does.
func (r *roster) noteListeners(counts map[wire.ReplicaID]int64) (deaf []wire.ReplicaID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, n := range counts {
		switch o := r.others[id]; {
		case o == nil:
		case n > 0:
			o.deaf = 0
		default:
			if o.deaf++; o.deaf >= missedFor {
				deaf = append(deaf, id)
			}
		}
	}
	return deaf
}

// missGone tells which replicas have gone.
func (s *Redis) missGone(ctx context.Context, gone []wire.ReplicaID, events wire.StoreEvents) {
	for _, id := range append(gone, s.roster.noteListeners(s.listeners(ctx))...) {
		events.Unheard(id)
	}
}

// listeners counts who listens to the inboxes that this replica writes to.
func (s *Redis) listeners(ctx context.Context) map[wire.ReplicaID]int64 {
	if s.roster.listenersDenied() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var (
		counts = make(map[wire.ReplicaID]int64)
		mu     sync.Mutex
		all    sync.WaitGroup
	)
	for node, ids := range s.inboxNodes(ctx, s.sender.destinations()) {
		all.Go(func() {
			inboxes := make([]string, len(ids))
			for i, id := range ids {
				inboxes[i] = s.keys.inbox(id)
			}
			answer, err := node.PubSubNumSub(ctx, inboxes...).Result()
			if redis.IsPermissionError(err) {
				s.roster.denyListeners()
				s.log.Info("redis does not say who subscribes; a replica that was killed is missed when its lease ends", "after", s.timing.lease, "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i, id := range ids {
				if n, known := answer[inboxes[i]]; known {
					counts[id] = n
				}
			}
		})
	}
	all.Wait()
	return counts
}

// inboxNodes says at which node of a Cluster each replica subscribes; else all do
// at the one server.
func (s *Redis) inboxNodes(ctx context.Context, ids []wire.ReplicaID) map[redis.UniversalClient][]wire.ReplicaID {
	nodes := make(map[redis.UniversalClient][]wire.ReplicaID)
	for _, id := range ids {
		node := s.clients.directory
		if s.clients.cluster != nil {
			master, err := s.clients.cluster.MasterForKey(ctx, s.keys.inbox(id))
			if err != nil {
				continue
			}
			node = master
		}
		nodes[node] = append(nodes[node], id)
	}
	return nodes
}

func (r *roster) listenersDenied() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.numsubDenied
}

func (r *roster) denyListeners() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.numsubDenied = true
}
