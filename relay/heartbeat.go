package relay

import (
	"context"
	"time"

	"github.com/farscrape/farscrape/relay/link"
)

// forgiveEvery is how often what peers owe is forgiven in part, and told of.
const forgiveEvery = 10 * time.Second

// heartbeats does what is due from time to time, until ctx ends.
func (r *Relay) heartbeats(ctx context.Context) {
	tick := time.NewTicker(link.Tick)
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
				r.tarpit.Forgive(forgiveEvery)
				r.recorder.Forgive(forgiveEvery)
			}
			r.links.Tend(now)
			r.routes.Tend(now)
		}
	}
}
