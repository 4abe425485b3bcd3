package store_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A model knows of each link since when it should be listed, or not, and of Redis since
// when it answers; and how far from that listings have been at most.
type model struct {
	answers time.Time // since when Redis does; zero: it does not
	links   map[wire.LinkID]expected
	seen    map[sight]time.Time // when last

	unlisted finding // a link that should be
	untold   finding // how long it took until there was a listing again
	dead     finding // a link that should not be, and is
	owners   int     // of an agent, in one listing
}

// A finding is the longest of something, and how it came.
type finding struct {
	took time.Duration
	how  string
}

func (f *finding) note(took time.Duration, said []string) {
	if took > f.took {
		f.took, f.how = took, fmt.Sprintf("after %q", said[max(len(said)-5, 0):])
	}
}

// An expected is what a listing should say of a link, and since when.
type expected struct {
	should
	since time.Time
}

// A sight is of a link in the listing of an observer.
type sight struct {
	by   *replica
	link wire.LinkID
}

type should uint8

const (
	beEither should = iota // two processes have the name, and it has to be settled which keeps it
	beListed
	beGone
)

func (m *model) init() {
	m.answers, m.links, m.seen = time.Now(), make(map[wire.LinkID]expected), make(map[sight]time.Time)
}

// reckon brings the model up to date.
func (c *chaos) reckon(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	is := make(map[wire.LinkID]should)
	for id := range c.model.links {
		is[id] = beGone // released, or displaced
	}
	held := c.believedLocked()
	for _, h := range held {
		is[h.lease.Link] = c.shouldBe(h, held)
	}
	for id, should := range is {
		if e, known := c.model.links[id]; !known || e.should != should {
			c.model.links[id] = expected{should, now}
		}
	}
}

// shouldBe is what is expected of a link that its replica believes to hold.
func (c *chaos) shouldBe(h chaosLink, held []chaosLink) should {
	if c.join[h.by] != nil {
		return beGone // for all that others can see, its replica is
	}
	if slices.ContainsFunc(held, func(o chaosLink) bool {
		rival := o.lease.Agent == h.lease.Agent && o.lease.Instance != h.lease.Instance
		return rival && (o.lease.Epoch == 0 || o.lease.Epoch > h.lease.Epoch)
	}) {
		return beEither
	}
	return beListed
}

// compare holds an observer's listing against the model. It was asked for before, and
// came after, when these steps had begun.
func (m *model) compare(by *replica, before, after time.Time, agents []wire.Agent, err error, said []string) {
	if m.answers.IsZero() {
		return
	}
	if m.answers.After(before) || err != nil {
		m.untold.note(after.Sub(m.answers), said)
		return
	}
	listed := make(map[wire.LinkID]bool)
	for _, a := range agents {
		owners := make(map[wire.InstanceID]bool)
		for _, l := range a.Links {
			listed[l.Link], owners[l.Instance] = true, true
		}
		m.owners = max(m.owners, len(owners))
	}
	for id, e := range m.links {
		switch since := latest(e.since, m.answers); {
		case e.since.After(before):
		case e.should == beListed && !listed[id]:
			m.unlisted.note(after.Sub(latest(since, m.seen[sight{by, id}])), said)
		case e.should == beGone && listed[id]:
			m.dead.note(after.Sub(since), said)
		}
		if listed[id] {
			m.seen[sight{by, id}] = before
		}
	}
}

func latest(t, u time.Time) time.Time {
	if t.After(u) {
		return t
	}
	return u
}

// worse keeps the worse of both.
func (m *model) worse(other *model) {
	for _, f := range []struct{ worst, of *finding }{{&m.unlisted, &other.unlisted}, {&m.untold, &other.untold}, {&m.dead, &other.dead}} {
		if f.of.took > f.worst.took {
			*f.worst = *f.of
		}
	}
	m.owners = max(m.owners, other.owners)
}
