package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// churnShare is how much of all targets is replaced a minute.
	churnShare = 0.01
	// rewriteEvery is how often an agent's file is written, with as many targets
	// replaced as are due.
	rewriteEvery = 5 * time.Second
	// freshTarget begins the names of targets that have come in place of others.
	freshTarget = "fresh-"
)

// replace has n targets go and others come in their places, all over the list, and
// names the last that has come.
func (a *listedAgent) replace(n int) (came string) {
	for range n {
		came = fmt.Sprintf("%s%05d", freshTarget, a.fresh)
		at := a.fresh * 6007 % len(a.lines) // a prime: no place twice before each has been
		a.lines[at] = listedLine(came, a.network, listedTargets+a.fresh)
		a.fresh++
	}
	return came
}

// A change is a file that was written, with a target that it was the first to have.
type change struct {
	agent, target string
	at            time.Time
}

// A writer replaces targets of one agent after the other, until it is ended.
type writer struct {
	fleet    *fleet
	stop     context.CancelFunc
	running  sync.WaitGroup
	err      error // once it has ended, as are:
	files    int
	replaced int

	mu      sync.Mutex
	changes []change // that nobody has seen
}

func (f *fleet) startWriter() *writer {
	ctx, stop := context.WithCancel(f.Ctx)
	w := &writer{fleet: f, stop: stop}
	w.running.Go(func() { w.err = w.run(ctx) })
	f.Cleanup(func() { stop(); w.running.Wait() })
	return w
}

// end ends it, and waits for that.
func (w *writer) end() {
	w.stop()
	w.running.Wait()
	w.fleet.Must(w.err)
}

func (w *writer) run(ctx context.Context) error {
	agents := w.fleet.agents
	tick := time.NewTicker(rewriteEvery / time.Duration(len(agents)))
	defer tick.Stop()
	for began := time.Now(); ; w.files++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		due := int(churnShare * float64(len(agents)*listedTargets) * time.Since(began).Minutes())
		a, n := agents[w.files%len(agents)], due-w.replaced
		target := a.replace(n)
		if err := a.write(); err != nil {
			return err
		}
		w.replaced += n
		w.mu.Lock()
		w.changes = append(w.changes, change{a.name, target, time.Now()})
		w.mu.Unlock()
	}
}

// forget drops the changes that have been seen.
func (w *writer) forget(seen func(change) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = slices.DeleteFunc(w.changes, seen)
}

func (w *writer) unseen() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.changes)
}
