package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A link that was displaced has no place in the directory any more, but its replica
// would go on scraping by it. So that replica is told, twice: over the bus, for it to
// be at once, and in Redis, in a hash that it looks at twice a second, since a bus
// may lose what it carries. It then asks for the link's place again, and is refused.

const (
	// maxNudges bounds the links that others are still to be told of.
	maxNudges = 16 << 10
	// nudgesLast is how long they wait for their replica: one that does not come for
	// them in so long has lost its lease, and asks for all of its links anew.
	nudgesLast = time.Minute
)

// nudges are the links that other replicas are still to be told of. The goroutine that
// writes leases has them.
type nudges struct {
	of    map[wire.ReplicaID][]wire.LinkID
	links int // of all
}

// tellDisplaced has the replica that holds the links ask for their places again.
func (s *Redis) tellDisplaced(replica wire.ReplicaID, links []wire.LinkID) {
	for _, link := range links {
		s.entries.rewriteLink(link)
	}
	if replica == s.config.Replica {
		return
	}
	s.sender.nudge(replica, links)
	if n := min(len(links), maxNudges-s.nudges.links); n > 0 {
		s.nudges.of[replica] = append(s.nudges.of[replica], links[:n]...)
		s.nudges.links += n
	}
}

// writeNudges writes down what others are to be told, and reports whether nothing is
// left. Only the goroutine that writes leases calls it.
func (s *Redis) writeNudges(ctx context.Context) bool {
	if len(s.nudges.of) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	pipe := s.clients.directory.Pipeline()
	for replica, links := range s.nudges.of {
		fields := make([]any, 0, 2*len(links))
		for _, link := range links {
			fields = append(fields, string(link), "")
		}
		pipe.HSet(ctx, s.keys.nudges(replica), fields...)
		pipe.PExpire(ctx, s.keys.nudges(replica), nudgesLast)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return false
	}
	clear(s.nudges.of)
	s.nudges.links = 0
	return true
}

// takeNudges has the links asked for again that others have written down.
func (s *Redis) takeNudges(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	key := s.keys.nudges(s.config.Replica)
	nudges, err := s.clients.directory.HGetAll(ctx, key).Result()
	if err != nil || len(nudges) == 0 {
		return
	}
	links := slices.Collect(maps.Keys(nudges))
	for _, link := range links {
		s.entries.rewriteLink(wire.LinkID(link))
	}
	_ = s.clients.directory.HDel(ctx, key, links...).Err() // else they are taken again
}
