package agent

import (
	"bytes"
	"slices"
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

// A catalog holds the targets as they are now, and tells the links of each
// change.
type catalog struct {
	mu     sync.Mutex
	set    *targetSet
	frames []wire.Frame // the set as TARGETS
	links  map[*link]bool
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

// announce has the links say frames, which are the current set, if they differ
// from what they said last.
func (c *catalog) announce(frames []wire.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.EqualFunc(frames, c.frames, func(a, b wire.Frame) bool { return bytes.Equal(a.Payload, b.Payload) }) {
		return // a changed password is none of the relay's business
	}
	c.frames = frames
	for l := range c.links {
		l.declare(frames) // does not block
	}
}

// add tells a new link the targets now, and of each change until it is removed.
func (c *catalog) add(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.links == nil {
		c.links = make(map[*link]bool)
	}
	c.links[l] = true
	l.declare(c.frames)
}

func (c *catalog) remove(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, l)
}
