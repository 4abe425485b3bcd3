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

// A gate bounds the scrapes that are in flight, over all links: so many of the
// agent and so many of each target. Who finds no place waits, the longest
// waiting first, and as many may wait as may run.
type gate struct {
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

func newGate() *gate {
	return &gate{perAgent: defaultPerAgent, perTarget: defaultPerTarget, of: make(map[string]int)}
}

// limit sets the limits that a replica told; 0 leaves one as it is.
func (g *gate) limit(perAgent, perTarget int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if perAgent > 0 {
		g.perAgent = perAgent
	}
	if perTarget > 0 {
		g.perTarget = perTarget
	}
	g.admit()
}

// tryEnter takes a place if there is one at once, as there mostly is. leave must
// follow then.
func (g *gate) tryEnter(t *target) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) >= g.perAgent || !g.fits(t) { // who waits does not fit: nobody is overtaken
		return false
	}
	g.running++
	g.of[t.Name]++
	return true
}

// enter waits for a place until ctx ends. If it returns nil, leave must follow.
func (g *gate) enter(ctx context.Context, t *target) *wire.Error {
	g.mu.Lock()
	if len(g.waiting) >= g.perAgent {
		g.mu.Unlock()
		return wire.Errorf(wire.TooManyScrapes, "as many wait as may run")
	}
	w := &waiter{target: t, admitted: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.admit()
	g.mu.Unlock()

	select {
	case <-w.admitted:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, w)
	if i < 0 {
		return nil // admitted meanwhile
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return wire.Errorf(wire.TooManyScrapes, "%d in flight, %d of target %s", g.running, g.of[t.Name], t.Name)
}

// leave gives a place back.
func (g *gate) leave(t *target) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	if g.of[t.Name]--; g.of[t.Name] == 0 {
		delete(g.of, t.Name)
	}
	g.admit()
}

// admit lets in who fits. Its caller holds mu.
func (g *gate) admit() {
	still := g.waiting[:0]
	for _, w := range g.waiting {
		if !g.fits(w.target) {
			still = append(still, w)
			continue
		}
		g.running++
		g.of[w.target.Name]++
		close(w.admitted)
	}
	clear(g.waiting[len(still):])
	g.waiting = still
}

func (g *gate) fits(t *target) bool {
	most := g.perTarget
	if t.maxInflight > 0 {
		most = min(most, t.maxInflight)
	}
	return g.running < g.perAgent && g.of[t.Name] < most
}
