package relay

import "sync"

// Retries are a share of the scrapes, so that an outage does not double the
// load of what still stands.
const (
	// retryShare is how many retries each scrape earns.
	retryShare = 0.2
	// retryBurst is how many may be saved up: as many as may be in flight
	// through a busy replica that dies, all of which fail at once.
	retryBurst = 1000
)

// A retryBudget says whether a failed attempt may be tried again. It starts
// full.
type retryBudget struct {
	mu   sync.Mutex
	left float64
}

func newRetryBudget() *retryBudget { return &retryBudget{left: retryBurst} }

// earn notes a scrape.
func (b *retryBudget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+retryShare, retryBurst)
}

// spend reports whether there is a retry left, and takes it.
func (b *retryBudget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
