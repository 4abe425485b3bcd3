package edge

import (
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	quietFor  = time.Minute
	quietKeys = 4096 // as many agents may fail at once and still all be logged
)

// quiet keeps a failure that comes back with every scrape from filling the log.
type quiet struct {
	mu   sync.Mutex
	seen map[quietKey]quietState // guarded by mu
}

type quietKey struct {
	tenant, agent string
	reason        wire.Reason
}

type quietState struct {
	shown time.Time
	held  int // since then
}

func newQuiet() *quiet { return &quiet{seen: make(map[quietKey]quietState)} }

// show reports whether a failure is due to be logged, and how many like it have
// not been since the last one that was.
func (q *quiet) show(key quietKey, now time.Time) (held int, show bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	state, ok := q.seen[key]
	if ok && now.Sub(state.shown) < quietFor {
		state.held++
		q.seen[key] = state
		return 0, false
	}
	if !ok && len(q.seen) >= quietKeys && !q.forget(now) {
		return 0, false // the metrics have them all
	}
	q.seen[key] = quietState{shown: now}
	return state.held, true
}

// forget makes room, and reports whether it could.
func (q *quiet) forget(now time.Time) bool {
	for key, state := range q.seen {
		if now.Sub(state.shown) >= quietFor {
			delete(q.seen, key)
		}
	}
	return len(q.seen) < quietKeys
}
