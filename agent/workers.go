package agent

import (
	"sync"
	"time"
)

// workers run scrapes on goroutines that have run some before, for their stacks
// have grown already: to grow one anew for each took a twentieth of the agent's
// processor time.
type workers struct {
	next   chan func()   // to whoever waits
	closed chan struct{} // once there is nothing more to run
	all    sync.WaitGroup
}

// idleFor is how long a goroutine waits for its next scrape.
const idleFor = time.Second

func newWorkers() *workers { return &workers{next: make(chan func()), closed: make(chan struct{})} }

// run runs f on a goroutine, and does not wait for it.
func (w *workers) run(f func()) {
	select {
	case w.next <- f:
	default:
		w.all.Go(func() { w.work(f) })
	}
}

func (w *workers) work(f func()) {
	enough := time.NewTimer(idleFor)
	defer enough.Stop()
	for {
		f()
		enough.Reset(idleFor)
		select {
		case f = <-w.next:
		case <-enough.C:
			return
		case <-w.closed:
			return
		}
	}
}

// close ends the goroutines, those that run something when that is done.
// Nothing may be run after it.
func (w *workers) close() {
	close(w.closed)
	w.all.Wait()
}
