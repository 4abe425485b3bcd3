package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// entries knows the entries that this replica holds and what the directory has
// yet to be told of each. One goroutine tells it, so that each link's changes
// arrive in order; what waits meanwhile goes in one pipeline.
type entries struct {
	kick   chan struct{} // capacity 1: something is queued
	closed chan struct{} // when nobody writes any longer

	mu       sync.Mutex
	held     map[wire.LinkID]*held
	queue    []wire.LinkID        // links with a step to do, each once
	released int                  // of held, those that only wait to be released
	untold   bool                 // more were released than may wait
	late     map[wire.LinkID]bool // links whose list has changed too soon after the last change
	away     bool                 // no call of the last round succeeded

	mostReleased int
}

// links is how many entries are held.
func (l *entries) links() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held) - l.released
}

// A held is one entry.
type held struct {
	// What it is to be.
	entry   wire.Entry
	claims  claims    // by this process's clock
	edition int       // of claims
	listed  time.Time // when the directory was last to be told of a list

	// What is to be done.
	step   step
	queued bool
	cause  string         // of a release
	wait   chan<- outcome // who has registered it, until the answer

	// What the directory has of it.
	sent     bool             // there may be an entry
	seen     time.Time        // when it was written, or last looked for; zero: it is not there
	told     uint64           // the epoch that it gave and the owner knows; 0: none
	ended    []leaseID        // of others, that were in its way
	written  *wire.TargetList // its list
	inlined  bool             // which stands in the record itself
	detailed bool             // all but the list, which stands alone
	named    []wire.ListHash  // lists that may name the agent for it; more than one while an answer is out
	counted  size             // what all lists of the agent's links take
	claimed  claims           // that it was told of last; nil: not known
}

// claim changes the claims. The entries' mu is held.
func (h *held) claim(c claims) {
	h.claims = c
	h.edition++
}

// A step is what the directory is to be told of an entry. A later one includes
// the earlier ones.
type step uint8

const (
	stepNone step = iota
	stepAudit
	stepHold
	stepRelease
)

// An outcome answers Register.
type outcome struct {
	epoch uint64
	err   error
}

// maxReleased bounds the releases that wait for Redis to come back. Any more are not
// told, and this replica takes another lease: so they end without their cause.
const maxReleased = 16 << 10

func (l *entries) init() {
	l.kick = make(chan struct{}, 1)
	l.closed = make(chan struct{})
	l.held = make(map[wire.LinkID]*held)
	l.late = make(map[wire.LinkID]bool)
	l.mostReleased = maxReleased
}

// Register takes a link's entry and returns the epoch of its instance: a new
// one if the directory does not know the instance. entry.Epoch is a claim, which
// can only make the instance older where the younger wins. With
// wire.ErrSuperseded or wire.ErrNameTaken it is refused, and not held. With any
// other error the directory is away, or ctx has ended: the entry is held and
// registered as soon as possible, which events.Registered tells, or
// events.Lost; either may come before Register has returned. The targets are
// the store's from now on.
func (s *Redis) Register(ctx context.Context, entry wire.Entry) (uint64, error) {
	l := &s.entries
	done := make(chan outcome, 1)
	l.mu.Lock()
	now := time.Now()
	h := &held{entry: entry, listed: now, claims: claims(nil).declare(entry.List.All(), false, now)}
	if old := l.held[entry.Link]; old != nil {
		h.sent = old.sent
		l.answer(old, outcome{err: errReleased})
		l.forget(entry.Link)
	}
	l.held[entry.Link] = h
	l.push(h, stepHold)
	if l.away {
		l.mu.Unlock()
		return 0, ErrAway
	}
	h.wait = done
	l.mu.Unlock()

	select {
	case o := <-done:
		return o.epoch, o.err
	case <-l.closed:
		return 0, ErrAway
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case o := <-done: // it came after all
		return o.epoch, o.err
	default:
	}
	h.wait = nil
	return 0, fmt.Errorf("register: %w", context.Cause(ctx))
}

// Release ends a link's entry. Its cause, a wire.Cause's name, is what is known
// of an agent without another link. An ephemeral agent that has stopped is
// forgotten with its last link, any other ephemeral one after EphemeralKeep, and
// one that is not after RedisConfig.Keep.
func (s *Redis) Release(link wire.LinkID, cause string) {
	l := &s.entries
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[link]
	if h == nil || h.step == stepRelease {
		return
	}
	l.answer(h, outcome{err: errReleased})
	if !h.sent || l.released >= l.mostReleased {
		l.untold = l.untold || h.sent
		l.forget(link)
		return
	}
	h.cause, h.entry.List = cause, nil
	l.released++
	l.push(h, stepRelease)
}

// takeUntold reports whether links were released, since it was last asked, of which
// the directory will not be told.
func (l *entries) takeUntold() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	untold := l.untold
	l.untold = false
	return untold
}

var errReleased = errors.New("register: the entry was released meanwhile")

// push notes a step to do. l.mu is held.
func (l *entries) push(h *held, to step) {
	h.step = max(h.step, to)
	if !h.queued {
		h.queued = true
		l.queue = append(l.queue, h.entry.Link)
	}
	kick(l.kick)
}

// anew has an entry written of which nobody knows how much the directory has. l.mu is
// held.
func (l *entries) anew(h *held) {
	h.claimed, h.detailed = nil, false
	l.push(h, stepHold)
}

// answer tells whoever waits in Register. l.mu is held.
func (l *entries) answer(h *held, o outcome) {
	if h.wait != nil {
		h.wait <- o
		h.wait = nil
	}
}

// forget drops an entry. l.mu is held. The queue may still name it.
func (l *entries) forget(link wire.LinkID) {
	if h := l.held[link]; h != nil && h.step == stepRelease {
		l.released--
	}
	delete(l.held, link)
}

// rewrite writes all entries anew.
func (l *entries) rewrite() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		if h.step != stepRelease {
			l.anew(h)
		}
	}
	kick(l.kick)
}

// audit queues the links to be looked for that were not for so long.
func (l *entries) audit(now time.Time, every time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		if !h.seen.IsZero() && now.Sub(h.seen) >= every {
			l.push(h, stepAudit)
		}
	}
}

// rewriteMissing writes the entries of a tenant's agents anew that a whole listing
// lacks which began then.
func (l *entries) rewriteMissing(tenant string, listed []wire.Agent, began time.Time) {
	there := make(map[wire.LinkID]bool)
	for i := range listed {
		for j := range listed[i].Links {
			there[listed[i].Links[j].Link] = true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for link, h := range l.held {
		if h.entry.Tenant == tenant && !there[link] && !h.seen.IsZero() && h.seen.Before(began) && h.step != stepRelease {
			l.anew(h)
		}
	}
}

// rewriteLink writes one entry anew: there is reason to believe that it is lost,
// or spoilt.
func (l *entries) rewriteLink(link wire.LinkID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.held[link]; h != nil && h.step != stepRelease {
		l.anew(h)
	}
}

// kick wakes the goroutine that reads c, which has capacity 1.
func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
