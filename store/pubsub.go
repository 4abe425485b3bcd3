package store

import (
	"errors"
	"fmt"

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
