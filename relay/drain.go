package relay

import (
	"context"
	"math/rand/v2"
	"time"
)

// settleTime is how often a drain looks whether the last scrape is done.
const settleTime = 20 * time.Millisecond

// Drain makes the replica leave without losing a scrape, within DrainTimeout:
// it turns unready and takes no more links; asks its agents, spread over a
// quarter of the time, to move to other replicas; and answers scrapes as ever,
// until a second is left, for load balancers notice only after seconds. The
// store must run on meanwhile. When ctx ends, so does the drain.
//
// A replica that is alone has nobody to move to: it waits only for the scrapes
// in flight. One that does not know moves its links.
func (r *Relay) Drain(ctx context.Context) {
	if !r.phase.CompareAndSwap(serving, draining) && !r.phase.CompareAndSwap(starting, draining) {
		return
	}
	deadline := time.Now().Add(r.DrainTimeout)
	alone := r.alone(ctx)
	links, _ := r.links.Count()
	r.Logger.Info("draining", "links", links, "within", r.DrainTimeout, "alone", alone)
	if !alone {
		r.moveLinks(ctx, deadline)
		wait(ctx, time.Until(deadline)-time.Second)
	}
	r.awaitScrapes(ctx, deadline.Add(-time.Second))
	r.phase.Store(refusing)
	r.awaitScrapes(ctx, deadline)
	left, _ := r.links.Count()
	r.Logger.Info("drained", "links_cut", left, "scrapes_cut", r.routes.Inflight())
}

// aloneTimeout bounds the question whether there is another replica.
const aloneTimeout = 500 * time.Millisecond

func (r *Relay) alone(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, aloneTimeout)
	defer cancel()
	return r.Directory.Alone(ctx)
}

// moveLinks asks every agent to open its next link elsewhere, not all at once.
func (r *Relay) moveLinks(ctx context.Context, deadline time.Time) {
	links := r.links.All()
	if len(links) == 0 {
		return
	}
	rand.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
	pause := r.DrainTimeout / 4 / time.Duration(len(links))
	for _, l := range links {
		l.Drain("shutdown", time.Until(deadline))
		wait(ctx, pause)
	}
}

// awaitScrapes waits until none is in flight here: neither of this edge, nor on
// a link for another's.
func (r *Relay) awaitScrapes(ctx context.Context, deadline time.Time) {
	for time.Now().Before(deadline) && ctx.Err() == nil && (r.routes.Inflight() > 0 || r.forwards.count() > 0) {
		wait(ctx, settleTime)
	}
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
