package store

import (
	"context"
	"math/rand/v2"
	"time"
)

// A backoff spaces retries out: from 50 ms, doubling to half a second, since
// leases must be written within a second of Redis's return.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(2*b.next, 50*time.Millisecond), 500*time.Millisecond)
	timer := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
