// Package tarpit keeps those waiting who show credentials that are not good, one
// address after the other: whoever tries many, or tries one again and again, gets few
// answers and costs little. Who shows a good one never waits, so that one bad member
// behind a shared address locks nobody out.
package tarpit

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/loglimit"
	"github.com/farscrape/farscrape/relay/share"
)

const (
	// freeOfAll and freeEach are how many refusals are answered at once, of all
	// addresses and of each: those of a fleet whose tokens have ended, which tries
	// every half minute. freeHalf is when half of them are forgiven.
	freeOfAll = 32 << 10
	freeEach  = 256
	freeHalf  = 30 * time.Second
	// wait is how long any more are kept. It is shorter than what scrapers and agents
	// wait for.
	wait = time.Second
	// placesOfAll and placesEach are how many may wait, of all addresses and of each:
	// 32 MiB of connections. Beyond that they are answered at once.
	placesOfAll = 2048
	placesEach  = 512
)

// A Tarpit is one of a process.
type Tarpit struct {
	free   *share.Pool
	places *share.Pool
	kept   prometheus.Counter
}

// New makes a Tarpit. kept counts who was kept waiting.
func New(kept prometheus.Counter) *Tarpit {
	return &Tarpit{free: share.New(freeOfAll, freeEach), places: share.New(placesOfAll, placesEach), kept: kept}
}

// Hold returns when a refusal may be answered that came from an address: at once, or
// after a wait if there have been many; sooner if ctx ends. Until Forgive is called
// nothing is forgiven.
func (t *Tarpit) Hold(ctx context.Context, remoteAddr string) {
	who := loglimit.Stranger(remoteAddr)
	if t.free.Take(who, 1) || !t.places.Take(who, 1) {
		return
	}
	defer t.places.Give(who, 1)
	t.kept.Inc()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// Forgive forgives what has passed so long ago.
func (t *Tarpit) Forgive(after time.Duration) { t.free.Forgive(after, freeHalf) }
