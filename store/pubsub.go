package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// A PubSub says by which of Redis's two pub/subs the bus goes. In a Cluster a plain
// message is sent on to every node, a sharded one stays with the master that has the
// inbox's slot: relay/decisions/sharded-pubsub.md.
type PubSub string

const (
	PubSubAuto    PubSub = "auto"    // sharded in a Cluster that has it, else plain; an empty one is the same
	PubSubSharded PubSub = "sharded" // and no bus where Redis refuses
	PubSubPlain   PubSub = "plain"
)

// errUnsharded is the end of a subscription whose sharded half Redis does not take.
var errUnsharded = errors.New("redis refuses sharded pub/sub")

// unsharded wraps what Redis says of a sharded command, if that will not pass by
// itself.
func unsharded(err error) error {
	if refuses(err) {
		return fmt.Errorf("%w: %w", errUnsharded, err)
	}
	return err
}

// refuses reports whether err is Redis's word that a user may not do something, or
// that nobody can. That a slot has moved, or a Cluster is down, is none.
func refuses(err error) bool {
	return redis.IsPermissionError(err) || denied(err, "").code == "ERR"
}

// triesSharded reports whether a subscription that follows one which ended with
// last is to be sharded. One that Redis refuses is followed by a plain one, and that
// by another try: meanwhile Redis may have been upgraded, or its user's rights
// mended.
func (s *Redis) triesSharded(last error) bool {
	switch s.config.PubSub {
	case PubSubSharded:
		return true
	case PubSubPlain:
		return false
	default: // one server has no other nodes
		return s.clients.cluster != nil && !errors.Is(last, errUnsharded)
	}
}

// sendsSharded reports whether messages to a replica go the sharded way: if it says
// that it listens so, and if we do. Who does not know goes the plain way, which is
// always heard.
func (s *Redis) sendsSharded(to wire.ReplicaID) bool {
	if to == s.config.Replica || !s.inbox.sharded.Load() {
		return s.inbox.sharded.Load()
	}
	r := &s.roster
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.others[to]
	return o != nil && o.about.Sharded
}

// findMovedWithin bounds the search for where our inbox has moved to: nodes tell each
// other within a second, and a slot may have come back.
const findMovedWithin = time.Second

// findMoved waits until go-redis knows another node for our inbox than the one it had
// before it moved. That one would take us again, if it is now the replica
// of the other: a message comes to it by way of the master, and not at all until the
// master knows of it.
func (s *Redis) findMoved(ctx context.Context, before string) {
	if s.clients.cluster == nil {
		return // one node of a Cluster, by its own address
	}
	ctx, cancel := context.WithTimeout(ctx, findMovedWithin)
	defer cancel()
	known := func() bool { return ctx.Err() != nil || s.inboxNode(ctx) != before }
	for retry := (backoff{}); !known(); {
		// go-redis's one call that looks for the nodes anew and waits for them.
		_ = s.clients.cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil })
		if !known() {
			retry.wait(ctx)
		}
	}
}

// inboxNode is the node that has our inbox's slot, as far as go-redis knows; of one
// server it is none.
func (s *Redis) inboxNode(ctx context.Context) (address string) {
	if s.clients.cluster == nil {
		return ""
	}
	node, err := s.clients.cluster.MasterForKey(ctx, s.keys.inbox(s.config.Replica))
	if err != nil {
		return ""
	}
	return node.Options().Addr
}

// countSharded counts the others that are sent to the sharded way.
func (s *Redis) countSharded() {
	n := 0
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	for _, o := range s.roster.others {
		if o.about.Sharded && s.inbox.sharded.Load() {
			n++
		}
	}
	s.metrics.sharded.Set(float64(n))
}
