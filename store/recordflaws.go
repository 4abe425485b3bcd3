package store

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A flaw is what was left out of a record, since it is not as replicas write it.
type flaw struct {
	key  wire.AgentKey
	link *line // the live link that it is of, if it is of one
	err  error
}

var errNoLink = errors.New("it names no link")

// A flawLog says how many lines about flaws may be written. The zero value is
// ready.
type flawLog struct {
	mu   sync.Mutex
	next time.Time // when another line may be
	left int       // flaws that had none since the last
}

// flawEvery is how long after a line about a flaw the next may be: each listing
// meets the same ones.
const flawEvery = time.Minute

// take reports whether a line may be written now, and how many flaws had none.
func (l *flawLog) take(now time.Time) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		l.left++
		return 0, false
	}
	left, l.left, l.next = l.left, 0, now.Add(flawEvery)
	return left, true
}

// indexWasNone says that something else stood in the place of a tenant's index,
// which has begun anew. Until all replicas have written what they hold, it is as
// if Redis had been emptied: without its generations they find that out.
func (s *Redis) indexWasNone(ctx context.Context, tenant string) {
	s.metrics.badRecords.Inc()
	s.log.Warn("redis held no index in the place of a tenant's; it is made anew", "tenant", tenant)
	for n := range s.health.generations {
		_ = s.clients.directory.Del(ctx, s.keys.generation(strconv.Itoa(n))).Err()
	}
}

// complain tells of flaws, and has the replicas that hold the links write their
// leases anew. What is under a key and no record at all goes by itself, as soon as
// anybody holds a link of that agent.
func (s *Redis) complain(flaws []flaw) {
	for _, f := range flaws {
		s.metrics.badRecords.Inc()
		if left, ok := s.flawLog.take(time.Now()); ok {
			s.log.Warn("redis holds a record that no replica writes so, or a part of one; it is left out",
				"agent", f.key.String(), "err", f.err, "others_since_the_last", left)
		}
		switch {
		case f.link == nil:
		case f.link.replica == s.config.Replica:
			s.entries.rewriteLink(f.link.link)
		default:
			s.sender.nudge(f.link.replica, []wire.LinkID{f.link.link})
		}
	}
}
