package store

import (
	"context"
	"strconv"
)

// countReplicas renews this replica among the living and counts them, with each
// pulse: one that is told to stop a second after its successor came must know
// that it is not alone, or it would cut its links.
func (s *Redis) countReplicas(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	count, err := runCall(ctx, s.clients.directory, call{
		script: s.scripts.alive,
		key:    s.keys.replicas(),
		args:   []any{string(s.config.Replica), s.timing.lease.Milliseconds(), s.keeper.links()},
	}).Int64Slice()
	if err != nil || len(count) != 2 {
		return // the pulse finds out what is wrong; the last count stands
	}
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	s.pulse.replicas, s.pulse.links = max(int(count[0]), 1), int(count[1])
}

// Replicas is how many replicas were alive when last counted, this one with
// them.
func (s *Redis) Replicas() int {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return s.pulse.replicas
}

// Links is how many links those replicas held then.
func (s *Redis) Links() int {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return s.pulse.links
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
