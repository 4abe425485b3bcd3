package relay

import "sync"

// errands are goroutines that requests leave behind: links, and questions whose
// answers the next ones will want. Requests may outlive the relay, so it takes none once it is
// ending: Run could not wait for them. The zero value is ready.
type errands struct {
	mu   sync.Mutex
	over bool
}

// errand runs f behind a request, and reports whether it does.
func (r *Relay) errand(f func()) bool {
	r.errands.mu.Lock()
	defer r.errands.mu.Unlock()
	if r.errands.over {
		return false
	}
	r.active.Go(f)
	return true
}

// end has no more of them begin.
func (e *errands) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
}
