package relay

import "sync"

// errands are goroutines that requests leave behind: links, and questions whose
// answers the next ones will want. Requests may outlive the relay, so it takes none
// once it is ending: Run could not wait for them. The zero value is ready.
type errands struct {
	mu     sync.Mutex
	over   bool
	active sync.WaitGroup
}

// run runs f behind a request, and reports whether it does.
func (e *errands) run(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return false
	}
	e.active.Go(f)
	return true
}

// end has no more of them begin.
func (e *errands) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
}
