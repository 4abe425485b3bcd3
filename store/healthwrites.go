package store

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxStandstill is for how long leases that nobody could renew count as live. A
// Redis that is full may need a person; and the route to an agent that has gone
// meanwhile proves itself to be stale with the first scrape.
const maxStandstill = time.Hour

// writes says whether Redis takes any. One that is full, or has become a replica,
// goes on answering: leases run out there though nobody has gone. The zero value
// is of a Redis that does, as far as is known.
type writes struct {
	mu      sync.Mutex
	failing [writeSources]bool
	stopped time.Time // since when writes fail; zero: they do not
	resumed time.Time // when they last did again
	before  time.Time // since when they had failed until then
}

// A writeSource is one of those whose writes are watched.
type writeSource int

const (
	writeReplica writeSource = iota // its own lease on life, always
	writeLeases                     // the links' leases: on a Cluster in other places
	writeSources
)

// note takes what came of a write that began then, and reports a change.
func (w *writes) note(source writeSource, began time.Time, err error, lease time.Duration) (stopped, resumed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing[source] = err != nil
	fails := w.failing != [writeSources]bool{}
	switch {
	case fails && w.stopped.IsZero():
		w.stopped = began
		if !w.resumed.IsZero() && began.Sub(w.resumed) < lease { // not everybody had time to renew
			w.stopped = w.before
		}
		return true, false
	case !fails && !w.stopped.IsZero():
		w.before, w.resumed, w.stopped = w.stopped, time.Now(), time.Time{}
		return false, true
	}
	return false, false
}

// standstill is for how long, until now, leases have run out that nobody could
// renew. It counts for the time of a lease after writes are taken again: others
// may notice later.
func (s *Redis) standstill() time.Duration {
	w, timing := &s.writes, &s.timing
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.stopped.IsZero():
		return min(time.Since(w.stopped), timing.standstill)
	case !w.resumed.IsZero() && time.Since(w.resumed) < timing.lease:
		return min(time.Since(w.before), timing.standstill+timing.lease)
	}
	return 0
}

// noteWrite takes what came of a write that began then. One that failed for
// another reason, such as a right that is missing, says nothing of others' writes.
func (s *Redis) noteWrite(ctx context.Context, source writeSource, began time.Time, err error) {
	if ctx.Err() != nil || err != nil && !deniesWrites(err) {
		return
	}
	stopped, resumed := s.writes.note(source, began, err, s.timing.lease)
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
	return w.stopped.IsZero()
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
