package agent

import (
	"math/rand/v2"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	backoffBase = 500 * time.Millisecond
	backoffCap  = 30 * time.Second
	// stable is how long a link must have held for its loss to be an accident:
	// the backoff starts anew, and gently.
	stable = 10 * time.Second
	// eager is how long after such a loss a dial is at most eagerWait away: a
	// replica that restarts, or a balancer that swaps one, is back by then.
	eager     = 5 * time.Second
	eagerWait = time.Second
	// An agent of the same name is younger, or was there first: this one stays
	// out of its way, at first so long, which a duplicate that was noticed at once
	// has gone within, and each time twice as long as before up to the last.
	// Between it and twice as much the wait is drawn.
	yieldFirst = 10 * time.Second
	yieldLast  = 60 * time.Second
	// patience is how many dials in a row may meet a replica that is held
	// already before they grow rarer.
	patience = 8
	// heldWait is for a replica that is held already and does not say when to
	// come back; maxRetryAfter bounds what any says.
	heldWait      = 10 * time.Second
	maxRetryAfter = 5 * time.Minute
)

// A backoff says how long to wait before the next dial. Every wait is drawn from
// the whole range up to its bound (full jitter), so that agents that lost the
// same replica do not come back together.
type backoff struct {
	failures int
	eagerTil time.Time
}

// failed is the wait after a dial or a young link has failed.
func (b *backoff) failed(now time.Time) time.Duration {
	if now.Before(b.eagerTil) {
		return within(eagerWait)
	}
	bound := min(backoffCap, backoffBase<<min(b.failures, 10))
	b.failures++
	return within(bound)
}

// lost is the wait after the loss of a link that lived for age. One whose token is good
// no more was no accident: the next dial shows the same, unless somebody is quick.
func (b *backoff) lost(now time.Time, cause wire.Cause, age time.Duration) time.Duration {
	if age >= stable && cause != wire.CauseRevoked {
		b.failures = 0
		b.eagerTil = now.Add(eager)
	}
	return b.failed(now)
}

// yieldWait is the wait after an agent of the same name was met for another time:
// nought the first time.
func yieldWait(met int) time.Duration {
	least := min(yieldLast, yieldFirst<<min(met, 10))
	return between(least, 2*least)
}

// within draws a wait of at most bound.
func within(bound time.Duration) time.Duration { return between(0, bound) }

func between(least, most time.Duration) time.Duration {
	return least + rand.N(most-least) + 1
}
