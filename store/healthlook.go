package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// runHealth looks at Redis until ctx ends.
func (s *Redis) runHealth(ctx context.Context, events wire.StoreEvents) {
	tick := time.NewTicker(s.timing.look)
	defer tick.Stop()
	for {
		if err := s.observe(ctx); s.health.isAway() {
			s.noteWrite(ctx, writeReplica, err)
		} else { // a part of a Cluster may be away
			s.countReplicas(ctx, events)
			s.takeNudges(ctx)
			s.lookAtRevocations(ctx, events)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A sighting is what one look at Redis found.
type sighting struct {
	number      uint64
	generations []string // "" where that one could not be had
	age         time.Duration
	runIDs      []string // of the servers that hold the directory, as far as they say
	infoDenied  bool
	err         error // the first of them
	answered    bool
}

// observe looks at Redis and draws the conclusions: leases to be written anew,
// departed agents to be written back, unknown agents to be uncertain. Its error
// says that Redis, or a part of it, is away.
func (s *Redis) observe(ctx context.Context) error {
	seen := s.look(ctx)
	if ctx.Err() != nil && !seen.answered {
		return ctx.Err() // says nothing about Redis
	}
	denial, isNew := s.health.denied(seen.err, s.config.Prefix)
	news := s.health.note(seen, s.timing)
	if news.back {
		s.log.Info("redis answers", "discovery_waits", s.health.uncertainFor().Round(time.Second))
	}
	switch {
	case news.away && denial.code != "":
		s.log.Warn("redis refuses; agents linked here are still scraped", s.attrs(seen.err)...)
	case news.away:
		s.log.Warn("redis does not answer; agents linked here are still scraped", s.attrs(seen.err)...)
	case isNew:
		s.log.Warn("redis refuses", s.attrs(seen.err)...)
	}
	if news.emptied {
		s.log.Warn("redis has been emptied; unknown agents are uncertain for now", "for", s.timing.grace)
	}
	if news.replaced {
		s.log.Warn("redis was restarted or has failed over")
	}
	if news.emptied || news.replaced {
		kick(s.health.lacking)
	}
	switch {
	case news.emptied, news.replaced, news.back && len(seen.runIDs) == 0:
		s.renounce()
	case news.back:
		s.entries.rewrite()
	}
	if news.back || news.replaced {
		s.warnOfEviction(ctx)
	}
	if news.back || news.replaced || news.emptied {
		s.beginJoins(ctx)
	}
	if seen.err != nil {
		s.clients.reload(ctx)
	}
	return seen.err
}

func (s *Redis) look(ctx context.Context) sighting {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	client := s.clients.directory
	n := len(s.health.generations)
	calls := make([]call, n)
	for i := range calls {
		calls[i] = call{script: s.scripts.generation, key: s.keys.generation(strconv.Itoa(i)), args: []any{string(wire.NewID[wire.ReplicaID]())}}
	}
	seen := sighting{number: s.health.begin(), generations: make([]string, n), age: time.Duration(1<<63 - 1)}
	for i, cmd := range runCalls(ctx, client, calls) {
		generation, age, err := parseGeneration(cmd)
		if err != nil {
			seen.err = err
			continue
		}
		seen.answered = true
		seen.generations[i], seen.age = generation, min(seen.age, age)
	}
	if seen.answered && !s.health.deniesInfo() {
		seen.runIDs, seen.infoDenied = s.runIDs(ctx)
	}
	return seen
}

// runIDs are the run IDs of the servers that hold the directory: one that is new
// there may lack what was written last.
func (s *Redis) runIDs(ctx context.Context) (ids []string, denied bool) {
	var mu sync.Mutex
	ask := func(ctx context.Context, server *redis.Client) error {
		info, err := server.Info(ctx, "server").Result()
		mu.Lock()
		defer mu.Unlock()
		denied = denied || redis.IsPermissionError(err)
		if id := infoField(info, "run_id"); id != "" {
			ids = append(ids, id)
		}
		return nil // it is not for this that Redis is away
	}
	switch client := s.clients.directory.(type) {
	case *redis.ClusterClient:
		_ = client.ForEachMaster(ctx, ask)
	case *redis.Client:
		_ = ask(ctx, client)
	}
	return ids, denied
}

func parseGeneration(cmd *redis.Cmd) (generation string, age time.Duration, err error) {
	reply, err := cmd.StringSlice()
	if err != nil {
		return "", 0, err
	}
	if len(reply) != 2 {
		return "", 0, fmt.Errorf("generation: %w", errReply)
	}
	ms, err := strconv.ParseInt(reply[1], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("generation: %w", errReply)
	}
	return reply[0], time.Duration(ms) * time.Millisecond, nil
}

// infoField is the value of a field in INFO's answer.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// warnOfEviction warns where Redis may evict our keys when its memory is full.
func (s *Redis) warnOfEviction(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	info, err := s.clients.directory.Info(ctx, "memory").Result()
	switch {
	case (redis.IsPermissionError(err) || redis.HasErrorPrefix(err, "ERR unknown command")) && s.health.tellInfo():
		s.log.Warn("may not read INFO: maxmemory-policy is unchecked: noeviction is needed", s.attrs(err)...)
		return
	case err != nil:
		s.log.Debug("cannot see whether redis evicts keys", "err", err)
		return
	}
	policy := infoField(info, "maxmemory_policy")
	limit, err := strconv.ParseInt(infoField(info, "maxmemory"), 10, 64)
	if policy != "" && policy != "noeviction" && (err != nil || limit != 0) {
		s.log.Warn("redis evicts keys when its memory is full, and agents would vanish: set maxmemory-policy noeviction", "maxmemory_policy", policy)
	}
}
