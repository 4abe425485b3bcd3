package agent

import (
	"sync"
	"time"
)

// A crew runs scrapes on goroutines that have run some before, for their stacks
// have grown already: to grow one anew for each took a twentieth of the agent's
// processor time.
type crew struct {
	next chan func() // to whoever waits
	over chan struct{}
	all  sync.WaitGroup
}

// idleFor is how long a goroutine waits for its next scrape.
const idleFor = time.Second

func newCrew() *crew { return &crew{next: make(chan func()), over: make(chan struct{})} }

// run runs f on a goroutine, and does not wait for it.
func (c *crew) run(f func()) {
	select {
	case c.next <- f:
	default:
		c.all.Go(func() { c.work(f) })
	}
}

func (c *crew) work(f func()) {
	enough := time.NewTimer(idleFor)
	defer enough.Stop()
	for {
		f()
		enough.Reset(idleFor)
		select {
		case f = <-c.next:
		case <-enough.C:
			return
		case <-c.over:
			return
		}
	}
}

// dismiss ends the goroutines, those that run something when that is done.
// Nothing may be run after it.
func (c *crew) dismiss() {
	close(c.over)
	c.all.Wait()
}
