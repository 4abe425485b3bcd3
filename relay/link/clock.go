package link

import (
	"math"
	"time"
)

// A clock tells how long this replica has run. It is what spans are measured by
// where a time.Time does not fit: no step of the wall clock moves it.
type clock struct{ began time.Time }

func (c clock) now() time.Duration { return time.Since(c.began) }

// at is what it told at t, which must come from time.Now or a timer.
func (c clock) at(t time.Time) time.Duration { return t.Sub(c.began) }

// never is when what is not due will be, by the replica's clock.
const never = time.Duration(math.MaxInt64)

// later is never, if what is so much later than a time cannot be told.
func later(at, by time.Duration) time.Duration { return at + min(by, never-at) }
