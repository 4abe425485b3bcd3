package store

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// A roster is who the living replicas were when last counted.
type roster struct {
	counted chan struct{} // closed once they have been
	first   sync.Once     // closes it

	mu      sync.Mutex
	living  living
	others  map[wire.ReplicaID]*absence // who was alive then, or may still be
	refused bool                        // an ACL forbids to ask who listens
	told    grievance
}

func (r *roster) init() {
	r.counted = make(chan struct{})
	r.others = make(map[wire.ReplicaID]*absence)
}

// The living are the replicas that hold a lease on life.
type living struct {
	replicas []wire.ReplicaID // this one with them
	links    int              // that they hold
}

// countReplicas renews this replica among the living and counts them, with each
// pulse: one that is told to stop a second after its successor came must know
// that it is not alone, or it would cut its links.
func (s *Redis) countReplicas(ctx context.Context, events wire.StoreEvents) {
	began := time.Now()
	now, err := s.count(ctx)
	s.noteWrite(ctx, writePulse, began, err)
	if denial, isNew := s.roster.denied(err, s.config.Prefix); isNew && !refusesWrites(err) {
		s.log.Warn("redis refuses the list of replicas", denial.attrs(err)...)
	}
	if err != nil {
		return // the last count stands
	}
	s.missGone(ctx, now, events)
}

// count counts the living, this replica among them.
func (s *Redis) count(ctx context.Context) (living, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	return parseLiving(runCall(ctx, s.clients.directory, call{
		script: s.scripts.alive,
		key:    s.keys.replicas(),
		args:   []any{string(s.config.Replica), s.timing.lease.Milliseconds(), s.keeper.links()},
	}))
}

func parseLiving(cmd *redis.Cmd) (all living, err error) {
	reply, err := cmd.Slice()
	if err != nil {
		return all, err
	}
	if len(reply) != 2 {
		return all, fmt.Errorf("replicas: %w", errReply)
	}
	links, _ := reply[0].(int64)
	names, _ := reply[1].([]any)
	all.links = int(links)
	for _, name := range names {
		if id, _ := name.(string); wire.ValidID(id) {
			all.replicas = append(all.replicas, wire.ReplicaID(id))
		}
	}
	return all, nil
}

// denied says what of err is Redis's own word, and whether that is news.
func (r *roster) denied(err error, prefix string) (d denial, isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told.news(err, prefix)
}

// Replicas is how many replicas were alive when last counted, this one with
// them; 1 before that.
func (s *Redis) Replicas() int {
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	return max(len(s.roster.living.replicas), 1)
}

// Links is how many links those replicas held then.
func (s *Redis) Links() int {
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	return s.roster.living.links
}

// Alone reports whether Redis says, now, that no other replica is alive. A
// replica that cannot ask does not know, which is not being alone.
func (s *Redis) Alone(ctx context.Context) bool {
	now, err := s.count(ctx)
	return err == nil && len(now.replicas) <= 1
}

// leave takes this replica out of the living.
func (s *Redis) leave() {
	if s.pulse.isAway() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.flush)
	defer cancel()
	_ = s.clients.directory.HDel(ctx, s.keys.replicas(), string(s.config.Replica)).Err() // else it expires
}

// warnOfEviction warns where Redis may evict our keys when its memory is full.
func (s *Redis) warnOfEviction(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	info, err := s.clients.directory.Info(ctx, "memory").Result()
	if err != nil {
		s.log.Debug("cannot see whether redis evicts keys", "error", err)
		return
	}
	policy := infoField(info, "maxmemory_policy")
	limit, err := strconv.ParseInt(infoField(info, "maxmemory"), 10, 64)
	if policy != "" && policy != "noeviction" && (err != nil || limit != 0) {
		s.log.Warn("redis evicts keys when its memory is full, and agents would vanish: set maxmemory-policy noeviction", "maxmemory_policy", policy)
	}
}
