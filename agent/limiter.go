package agent

import (
	"context"
	"slices"
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// Limits until a replica has told its own, which are the same by default.
const (
	defaultPerTarget = 64
	defaultPerAgent  = 256
)

// A limiter bounds the scrapes that are in flight, over all links: so many of the
// agent and so many of each target. Who finds no place waits, the longest
// waiting first, and as many may wait as may run.
type limiter struct {
	mu        sync.Mutex
	perAgent  int
	perTarget int
	running   int
	of        map[string]int // running, by target
	waiting   []*waiter      // in order of arrival
}

type waiter struct {
	target   *target
	admitted chan struct{} // closed once it is in
}

func newLimiter() *limiter {
	return &limiter{perAgent: defaultPerAgent, perTarget: defaultPerTarget, of: make(map[string]int)}
}

// limit sets the limits that a replica told; 0 leaves one as it is.
func (l *limiter) limit(perAgent, perTarget int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if perAgent > 0 {
		l.perAgent = perAgent
	}
	if perTarget > 0 {
		l.perTarget = perTarget
	}
	l.admit()
}

// tryAcquire takes a place if there is one at once, as there mostly is. release must
// follow then.
func (l *limiter) tryAcquire(t *target) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= l.perAgent || !l.fits(t) { // who waits does not fit: nobody is overtaken
		return false
	}
	l.running++
	l.of[t.Name]++
	return true
}

// acquire waits for a place until ctx ends. If it returns nil, release must follow.
func (l *limiter) acquire(ctx context.Context, t *target) *wire.Error {
	l.mu.Lock()
	if len(l.waiting) >= l.perAgent {
		l.mu.Unlock()
		return wire.Errorf(wire.TooManyScrapes, "as many wait as may run")
	}
	w := &waiter{target: t, admitted: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.admit()
	l.mu.Unlock()

	select {
	case <-w.admitted:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, w)
	if i < 0 {
		return nil // admitted meanwhile
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	return wire.Errorf(wire.TooManyScrapes, "%d in flight, %d of target %s", l.running, l.of[t.Name], t.Name)
}

// release gives a place back.
func (l *limiter) release(t *target) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	if l.of[t.Name]--; l.of[t.Name] == 0 {
		delete(l.of, t.Name)
	}
	l.admit()
}

// admit lets in who fits. Its caller holds mu.
func (l *limiter) admit() {
	still := l.waiting[:0]
	for _, w := range l.waiting {
		if !l.fits(w.target) {
			still = append(still, w)
			continue
		}
		l.running++
		l.of[w.target.Name]++
		close(w.admitted)
	}
	clear(l.waiting[len(still):])
	l.waiting = still
}

func (l *limiter) fits(t *target) bool {
	most := l.perTarget
	if t.maxInflight > 0 {
		most = min(most, t.maxInflight)
	}
	return l.running < l.perAgent && l.of[t.Name] < most
}
