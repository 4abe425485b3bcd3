package attempt

import (
	"time"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// Retries are a share of the scrapes, so that an outage does not double the
// load of what still stands.
const (
	// retryShare is how many retries each scrape of an agent earns it.
	retryShare = 0.2
	// maxRetries is how many may be owed for at once. One tenant alone has two
	// thirds of it, a thousand: as many scrapes as may be in flight through a
	// busy replica that dies, all of which fail at once.
	maxRetries = 1500
	// retriesOfAgent is how many of them one agent may owe: as many of its
	// scrapes as may be in flight by default.
	retriesOfAgent = 256
	// retriesHalf is when half of what an agent owes is forgiven: one that is
	// not scraped any more earns nothing.
	retriesHalf = 5 * time.Minute
)

// A retryBudget says whether a failed attempt may be tried again. Agents owe for
// the retries that they have caused until scrapes of theirs have earned them, so
// that one whose scrapes all fail leaves the others' to them.
type retryBudget struct{ shares *share.Pool }

func newRetryBudget() retryBudget {
	return retryBudget{share.New(maxRetries, retriesOfAgent)}
}

// earn notes a scrape.
func (b retryBudget) earn(k wire.AgentKey) { b.shares.Give(share.Of(k), retryShare) }

// spend reports whether there is a retry left, and takes it.
func (b retryBudget) spend(k wire.AgentKey) bool {
	return b.shares.Take(share.Of(k), 1)
}

// forgive is called now and then.
func (b retryBudget) forgive(after time.Duration) { b.shares.Forgive(after, retriesHalf) }
