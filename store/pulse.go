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

// A pulse is what is known of Redis itself: whether it answers, and whether it is
// the same as before.
type pulse struct {
	lacking chan struct{} // capacity 1: Redis may lack what it had

	mu          sync.Mutex
	generations []string // last seen, "" before; on a Cluster several, to be on all of its nodes
	runID       string   // last seen; of a Cluster none
	infoRefused bool     // an ACL forbids INFO
	looks       uint64   // begun
	noted       uint64   // the youngest of them that is noted
	away        bool     // Redis did not answer last time
	known       bool     // it has answered once
	told        grievance
	settled     time.Time // from then on what is not in the directory does not exist
	disturbed   time.Time // when it was last found emptied, replaced or back
}

// clusterGenerations is how many generation keys a Cluster gets. Their slots
// are spread by a hash, so that each of three nodes has one with a probability
// of 99.5 %, and a node that lost everything is noticed.
const clusterGenerations = 16

func (p *pulse) init(cluster bool) {
	n := 1
	if cluster {
		n = clusterGenerations
	}
	p.lacking = make(chan struct{}, 1)
	p.generations = make([]string, n)
	p.away = true
}

// runPulse looks at Redis until ctx ends.
func (s *Redis) runPulse(ctx context.Context, events wire.StoreEvents) {
	tick := time.NewTicker(s.timing.pulse)
	defer tick.Stop()
	for {
		began := time.Now()
		if err := s.observe(ctx); err == nil {
			s.countReplicas(ctx, events)
		} else {
			s.noteWrite(ctx, writePulse, began, err)
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
	runID       string
	infoRefused bool
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
	denial, isNew := s.pulse.denied(seen.err, s.config.Prefix)
	news := s.pulse.note(seen, s.timing)
	if news.back {
		s.log.Info("redis answers", "discovery_waits", s.pulse.uncertainFor().Round(time.Second))
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
		kick(s.pulse.lacking)
	}
	if news.back || news.emptied || news.replaced {
		s.keeper.rewrite()
	}
	if news.back || news.replaced {
		s.warnOfEviction(ctx)
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
	n := len(s.pulse.generations)
	calls := make([]call, n)
	for i := range calls {
		calls[i] = call{script: s.scripts.generation, key: s.keys.generation(strconv.Itoa(i)), args: []any{string(wire.NewID[wire.ReplicaID]())}}
	}
	seen := sighting{number: s.pulse.begin(), generations: make([]string, n), age: time.Duration(1<<63 - 1)}
	for i, cmd := range runCalls(ctx, client, calls) {
		generation, age, err := parseGeneration(cmd)
		if err != nil {
			seen.err = err
			continue
		}
		seen.answered = true
		seen.generations[i], seen.age = generation, min(seen.age, age)
	}
	if s.clients.cluster == nil && seen.answered && !s.pulse.refusesInfo() {
		info, err := client.Info(ctx, "server").Result()
		seen.runID = infoField(info, "run_id")
		seen.infoRefused = redis.IsPermissionError(err)
	}
	return seen
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

// news is what a sighting has changed.
type news struct {
	back, away, emptied, replaced bool
}

// begin numbers a look.
func (p *pulse) begin() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	return p.looks
}

// note compares what was seen with what was before, unless a younger look was
// faster.
func (p *pulse) note(seen sighting, timing timing) (n news) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if seen.number < p.noted {
		return n
	}
	p.noted = seen.number
	p.infoRefused = p.infoRefused || seen.infoRefused
	if !seen.answered {
		n.away = !p.away || !p.known
		p.away, p.known = true, true
		return n
	}
	again := p.known
	n.back = p.away
	p.away, p.known = false, true
	for i, generation := range seen.generations {
		if generation == "" {
			continue // that part of a Cluster is away
		}
		n.emptied = n.emptied || p.generations[i] != "" && p.generations[i] != generation
		p.generations[i] = generation
	}
	if seen.runID != "" {
		n.replaced = p.runID != "" && p.runID != seen.runID
		p.runID = seen.runID
	}
	if n.emptied || n.replaced || n.back {
		p.disturbed = now
	}
	if left := timing.grace - seen.age; left > 0 {
		p.settleAt(now.Add(left))
	}
	if n.back && again || n.replaced || seen.err != nil {
		p.settleAt(now.Add(timing.settle))
	}
	return n
}

// denied says what of err is Redis's own word, and whether that is news.
func (p *pulse) denied(err error, prefix string) (d denial, isNew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told.news(err, prefix)
}

func (p *pulse) settleAt(t time.Time) {
	if t.After(p.settled) {
		p.settled = t
	}
}

// disturb notes that not everything may be as it was.
func (p *pulse) disturb() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disturbed = time.Now()
}

// isAway reports whether Redis did not answer when last looked at.
func (p *pulse) isAway() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away
}

// uncertainFor is for how long from now on what is not in the directory may exist.
func (p *pulse) uncertainFor() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(time.Until(p.settled), 0)
}

// uncertain is nil, or says for how long what is not in the directory may exist.
func (p *pulse) uncertain() error {
	if left := p.uncertainFor(); left > 0 {
		return stillUncertain(left)
	}
	return nil
}

// sinceDisturbed is how long ago Redis was last found emptied, replaced or back;
// long, if never.
func (p *pulse) sinceDisturbed() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.disturbed)
}

func (p *pulse) refusesInfo() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.infoRefused
}
