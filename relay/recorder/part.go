package recorder

import (
	"math"
	"time"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// A token has at most half of its tenant's journal, whatever its agents are called and
// at however many replicas they come: in a day, which is what a journal keeps, 4,950 of
// its 10,000 events.
const (
	// partEach is how many events of the frequent groups below may come at once: 500
	// side-cars of one token that lose both their links have 1,000 of each.
	partEach = 1000
	// rare is what an event of the other groups weighs: 250 of each may come.
	rare = 4
	// partHalf is when half of what has come may come again: in a day 1.92 times what
	// may come at once, or 4,810 events. What was left out is told 144 times a day.
	partHalf = 18 * time.Hour
	// mostReplicas bounds what an event weighs: a larger fleet takes more.
	mostReplicas = 50
)

// newParts are the tokens' parts. Each tenant has a journal of its own, so that nobody's
// part depends on others'. There are no more than tokens were minted, each of which is
// remembered for ten days.
func newParts() *share.Pool { return share.New(math.Inf(1), partEach) }

// partOf is where an event of a token's agent counts, and how much. Each replica counts
// its own, so each event weighs as many as there are replicas. What comes by itself, as
// links are moved, is a group apart: it hides no refusal and no link that was lost.
func partOf(e *wire.Event, holder string, replicas int) (part share.Member, weight float64) {
	group, weight := "other", float64(rare)
	switch {
	case e.Kind == wire.EventLinked:
		group, weight = "linked", 1
	case e.Kind == wire.EventRotated, e.Kind == wire.EventClosed && e.Cause == wire.CauseDrained.String():
		group = "moved"
	case e.Kind == wire.EventClosed:
		group, weight = "closed", 1
	}
	return share.Member{Tenant: e.Tenant, Name: holder + " " + group}, weight * float64(min(replicas, mostReplicas))
}
