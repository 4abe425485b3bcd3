package agent

import (
	"context"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// announceEvery is how soon after a change of the targets the relay is told of the
// next: what has changed meanwhile is told as one. Prometheus's own discovery keeps
// to as much.
const announceEvery = 5 * time.Second

// A catalog holds the targets as they are now, and has the links tell each change.
type catalog struct {
	due chan struct{} // has one element if there is something to tell

	mu    sync.Mutex
	set   *targetSet
	said  announcement // what the links have said
	next  *announcement
	links map[*link]bool
}

// An announcement is the targets as the relay is told of them.
type announcement struct {
	list   *wire.TargetList
	frames []wire.Frame // the list as TARGETS
}

func announcementOf(set *targetSet) (announcement, error) {
	frames, err := wire.MarshalTargets(set.declared)
	if err != nil {
		return announcement{}, err
	}
	return announcement{wire.NewTargetList(set.declared), frames}, nil
}

// changeFrom is what is otherwise than in the one before, if that is much less to say.
func (a *announcement) changeFrom(before *announcement) (wire.Frame, bool) {
	f, ok := a.list.ChangesFrom(before.list).Frame()
	return f, ok && len(f.Payload) < a.list.Bytes()/2
}

// get is the current set.
func (c *catalog) get() *targetSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set
}

// replace makes set the current one.
func (c *catalog) replace(set *targetSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = set
}

// announce has the links say the current set, if it differs from what they said last:
// a changed password is none of the relay's business.
func (c *catalog) announce(a announcement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.said.frames == nil:
		c.said = a
		return
	case a.list.Hash() == c.said.list.Hash():
		c.next = nil
		return
	}
	c.next = &a
	select {
	case c.due <- struct{}{}:
	default:
	}
}

// run tells the links what is announced, until ctx ends.
func (c *catalog) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.due:
		}
		if !c.tell() {
			continue
		}
		pause := time.NewTimer(announceEvery)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// tell has the links say what has changed, and reports whether anything has.
func (c *catalog) tell() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		return false
	}
	change, less := c.next.changeFrom(&c.said)
	c.said, c.next = *c.next, nil
	for l := range c.links { // which does not block
		if less && l.takesChanges() {
			l.declare([]wire.Frame{change})
		} else {
			l.declare(c.said.frames)
		}
	}
	return true
}

// add tells a new link the targets, and of each change until it is removed.
func (c *catalog) add(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.links == nil {
		c.links = make(map[*link]bool)
	}
	c.links[l] = true
	l.declare(c.said.frames)
}

func (c *catalog) remove(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, l)
}
