package attempt

import (
	"context"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// maxAsked bounds the attempts that may have asked the target: one retry.
	maxAsked = 2
	// maxAttempts bounds those that only met links which are gone, too: an
	// instance that dies takes both of its links with it.
	maxAttempts = 4
)

// An outcome is what a failed attempt means for the next.
type outcome uint8

const (
	final        outcome = iota // another would fail alike
	notAsked                    // the target was not asked, nor will be: the link is gone
	mayHaveAsked                // the target may have been asked: the answer is lost
	notDeclared                 // the target is another's, or has gone, just now: the link is good
)

func outcomeOf(n *wire.Nack) outcome {
	switch {
	case n.Reason == wire.TargetNotDeclared:
		return notDeclared
	case n.Elsewhere && n.Asked:
		return mayHaveAsked
	case n.Elsewhere:
		return notAsked
	}
	return final
}

// tries are the attempts of one scrape, one after the other.
type tries struct {
	attempts *Attempts
	ctx      context.Context
	scrape   *wire.Scrape
	id       wire.ScrapeID

	route *wire.Route // of the attempt under way
	next  *wire.Route // of the one after it; nil as long as none is found
	tried []wire.LinkID
	count uint8
	asked int // attempts that count against maxAsked
}

func (t *tries) start() *attempt {
	t.count++
	t.tried = append(t.tried, t.route.Link)
	return t.attempts.start(t.ctx, t.scrape, t.route, wire.AttemptKey{Scrape: t.id, Attempt: t.count})
}

// findNext finds the route of the attempt after this one, if there may be one that
// asks the target again.
func (t *tries) findNext() bool { return t.asked < maxAsked-1 && t.find() }

func (t *tries) find() bool {
	t.attempts.Router.Forget(t.route.Agent)
	var failure *wire.Error
	t.next, failure = t.attempts.Router.Find(t.ctx, t.route.Agent, t.scrape, t.tried)
	return failure == nil
}

// goOn makes the next attempt the one to start, or reports that there is none.
func (t *tries) goOn(n *wire.Nack) bool {
	switch outcomeOf(n) {
	case final:
		return false
	case notDeclared:
		t.tried = t.tried[:len(t.tried)-1]
		t.asked++
	case mayHaveAsked:
		t.asked++
	}
	if t.asked == maxAsked || t.count == maxAttempts || !t.findAny(n.Reason) || !t.attempts.retries.spend(t.route.Agent) {
		return false
	}
	t.attempts.Logger.Debug("scrape is tried again", "scrape", t.id, "agent", t.route.Agent.Agent, "target", t.route.Target, "link", t.route.Link, "why", n.Error.Error())
	t.attempts.retried.WithLabelValues(t.route.String(), n.Reason.String()).Inc()
	t.route, t.next = t.next, nil
	return true
}

// findAny finds the next route, unless that is done: if there is no other link, one
// that was tried, where all that is said against it is that the bus lost frames.
func (t *tries) findAny(why wire.Reason) bool {
	if t.next != nil || t.find() {
		return true
	}
	t.tried = nil
	return why == wire.BusUnavailable && t.find()
}
