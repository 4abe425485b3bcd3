package store

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxStandstill is for how long leases stand that nobody could renew, nor see end. A
// Redis that is full may need a person; and the route to an agent that has gone
// meanwhile proves itself to be stale with the first scrape.
const maxStandstill = time.Hour

// writes says whether Redis takes any. One that is full, or has become a replica,
// goes on answering, and no lease can be renewed there. The zero value is of a Redis
// that does, as far as is known.
type writes struct {
	mu      sync.Mutex
	failing [writeSources]bool
	stopped bool
}

// A writeSource is one of those whose writes are watched.
type writeSource int

const (
	writeReplica writeSource = iota // its lease, always
	writeLeases                     // its links: on a Cluster in other places
	writeSources
)

// note takes what came of a write, and reports a change.
func (w *writes) note(source writeSource, err error) (stopped, resumed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing[source] = err != nil
	before := w.stopped
	w.stopped = w.failing != [writeSources]bool{}
	return w.stopped && !before, before && !w.stopped
}

// noteWrite takes what came of a write. One that failed for
// another reason, such as a right that is missing, says nothing of others' writes.
func (s *Redis) noteWrite(ctx context.Context, source writeSource, err error) {
	if ctx.Err() != nil || err != nil && !deniesWrites(err) {
		return
	}
	stopped, resumed := s.writes.note(source, err)
	switch {
	case stopped && denied(err, "").code != "": // else it does not answer, which is told elsewhere
		s.log.Warn("redis takes no writes; leases that cannot be renewed stand", append(s.attrs(err), "for_at_most", s.timing.standstill)...)
	case resumed:
		s.log.Info("redis takes writes again")
		s.health.disturb()
	}
	if stopped {
		s.metrics.writable.Set(0)
	} else if err == nil && s.writes.taken() {
		s.metrics.writable.Set(1)
	}
}

// taken reports whether writes are taken.
func (w *writes) taken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.stopped
}

// deniesWrites reports whether err says that Redis, or that part of a Cluster,
// takes no writes at all, and not this one alone.
func deniesWrites(err error) bool {
	for _, code := range []string{"OOM", "READONLY", "MISCONF", "NOREPLICAS", "CLUSTERDOWN"} {
		if redis.HasErrorPrefix(err, code) {
			return true
		}
	}
	return err != nil && denied(err, "").code == "" // it did not answer
}
