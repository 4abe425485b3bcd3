package agent

import (
	"context"
	"sync"
)

// credit is how many bytes of body the edge still takes of one scrape. Only the
// edge adds to it, only the scrape's own goroutine spends.
type credit struct {
	mu   sync.Mutex
	left int64
	more chan struct{} // closed and taken away once left has grown; nil if nobody waits for that
}

func (c *credit) add(n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left += int64(n)
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
}

// spend takes at least 1 and at most most bytes, as soon as there are any.
func (c *credit) spend(ctx context.Context, most int) (int, error) {
	for {
		n, more := c.take(most)
		if n > 0 {
			return n, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// take takes what there is, at most most; if that is nothing, more is closed
// when there may be.
func (c *credit) take(most int) (n int, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		if c.more == nil {
			c.more = make(chan struct{})
		}
		return 0, c.more
	}
	n = int(min(int64(most), c.left))
	c.left -= int64(n)
	return n, nil
}
