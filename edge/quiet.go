package edge

import (
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// What bounds the lines that failures put into the log.
const (
	// quietFor is the time within which a failure is logged once.
	quietFor = time.Minute
	// quietKeys is how many different ones are logged in that time, of all: 2 MiB
	// of memory at the most. One tenant alone has two thirds of it.
	quietKeys = 4096
	// quietEach is how many of one agent are.
	quietEach = 32
	// quietSweep is how often at the most the old ones are looked for.
	quietSweep = time.Second
)

// quiet keeps a failure that comes back with every scrape from filling the log,
// and one agent's or tenant's failures from keeping those of others out.
type quiet struct {
	places *share.Pool // by agent, for what is in seen

	mu      sync.Mutex // guards what follows
	seen    map[quietKey]quietState
	swept   time.Time
	leftOut int // since it was told: what had no place, and what was like it and none came after
	told    time.Time
}

// A quietKey says which failures are alike.
type quietKey struct {
	wire.AgentKey        // whose; an agent that nobody knows is none
	of            string // a target, a page; may be empty
	reason        wire.Reason
}

type quietState struct {
	shown time.Time
	held  int // since then
}

func newQuiet() *quiet {
	return &quiet{places: share.New(quietKeys, quietEach), seen: make(map[quietKey]quietState)}
}

// A verdict says what to do with a failure.
type verdict uint8

const (
	alike   verdict = iota // another like it is in the log
	due                    // is to be logged
	crowded                // is not like another, but its agent or tenant has had its share
)

// judge says what to do with a failure and, if it is due, how many like it were
// not logged since the last one that was.
func (q *quiet) judge(key quietKey, now time.Time) (v verdict, held int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	state, ok := q.seen[key]
	who := share.Of(key.AgentKey)
	switch {
	case ok && now.Sub(state.shown) < quietFor:
		state.held++
		q.seen[key] = state
		return alike, 0
	case ok:
	case q.places.Take(who, 1) || q.sweep(now) && q.places.Take(who, 1):
	default:
		q.leftOut++
		return crowded, 0
	}
	q.seen[key] = quietState{shown: now}
	return due, state.held
}

// leftOutUntold is how many were left out since it last said so: at once of the
// first, and then within quietFor no second time.
func (q *quiet) leftOutUntold(now time.Time) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.leftOut > 0 && now.Sub(q.told) >= quietFor {
		n, q.leftOut, q.told = q.leftOut, 0, now
	}
	return n
}

// sweep forgets what is old, and reports whether it looked. The mu is held.
func (q *quiet) sweep(now time.Time) bool {
	if now.Sub(q.swept) < quietSweep {
		return false
	}
	q.swept = now
	for key, state := range q.seen {
		if now.Sub(state.shown) >= quietFor {
			delete(q.seen, key)
			q.leftOut += state.held
			q.places.Give(share.Of(key.AgentKey), 1)
		}
	}
	return true
}

// dueToLog reports whether a failure is to be logged, and how many like it were
// not since the last one that was. It counts and tells what is left out.
func (e *Edge) dueToLog(key quietKey, now time.Time) (held int, show bool) {
	v, held := e.quiet.judge(key, now)
	if v == crowded {
		e.metrics.unlogged.Inc()
		if n := e.quiet.leftOutUntold(now); n > 0 {
			e.Logger.Warn("failures were left out of the log: too many different ones within a minute", "failures", n,
				"last_tenant", key.Tenant, "last_agent", key.Agent, "last_reason", key.reason.String())
		}
	}
	return held, v == due
}
