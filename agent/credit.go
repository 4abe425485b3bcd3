package agent

import (
	"context"
	"sync"
)

// credit is how many bytes of body the edge still takes of one scrape. Only the
// edge adds to it, only the scrape's own goroutine spends.
type credit struct {
	more chan struct{} // has one element if left has grown since wait last looked

	mu   sync.Mutex
	left int64
}

func newCredit(first uint32) *credit {
	return &credit{more: make(chan struct{}, 1), left: int64(first)}
}

func (c *credit) add(n uint32) {
	c.mu.Lock()
	c.left += int64(n)
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// spend takes at least 1 and at most most bytes, as soon as there are any.
func (c *credit) spend(ctx context.Context, most int) (int, error) {
	for {
		c.mu.Lock()
		n := min(int64(most), c.left)
		c.left -= n
		c.mu.Unlock()
		if n > 0 {
			return int(n), nil
		}
		select {
		case <-c.more:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
