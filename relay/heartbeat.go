package relay

import (
	"context"
	"time"
)

// heartbeatTick is how often all links, and all that ages, are looked at.
const heartbeatTick = 250 * time.Millisecond

// forgiveEvery is how often what peers owe is forgiven in part, and told of.
const forgiveEvery = 10 * time.Second

// heartbeats does what is due from time to time, until ctx ends.
func (r *Relay) heartbeats(ctx context.Context) {
	tick := time.NewTicker(heartbeatTick)
	defer tick.Stop()
	balanceAt := time.Now().Add(untilBalance())
	forgiveAt := time.Now().Add(forgiveEvery)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if now.After(balanceAt) {
				balanceAt = now.Add(untilBalance())
				r.balance(now)
			}
			if now.After(forgiveAt) {
				forgiveAt = now.Add(forgiveEvery)
				r.attempts.Forgive(forgiveEvery)
				r.lines.Forgive(forgiveEvery)
			}
			r.links.Tend(now)
			r.routes.Tend(now)
		}
	}
}
