package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// In whatever order links come and go, replicas are cut off and come back, and Redis
// is emptied, stopped or thrown back to what it was: nobody ever sees two instances of
// an agent, and in the end all see the links that their replicas believe to hold, and
// no other.
func TestInAnyOrderAnAgentHasOneOwner(t *testing.T) {
	t.Parallel()
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newChaos(t, seed, brief(600*time.Millisecond))
			for range 40 {
				c.step()
			}
			c.settle()
		})
	}
}

// A chaos is a relay to which things happen.
type chaos struct {
	testing.TB
	rand      *rand.Rand
	server    *storetest.RedisServer
	all       []*mutable
	observers []*replica
	steps     []chaosStep
	longest   time.Duration // of outages; 0: as short as can be

	mu    sync.Mutex          // guards what follows
	join  map[*mutable]func() // of those that are cut off
	said  []string            // which steps were begun
	held  []chaosLink         // what replicas believe to hold, and what they have lost since
	model model
}

type chaosStep struct {
	name string
	do   func()
}

type chaosLink struct {
	lease wire.Entry
	by    *mutable
}

var chaosAgents = []string{"a", "b", "c"}

// newChaos is three replicas on one Redis, of which all that may happens.
func newChaos(t testing.TB, seed uint64, pace store.Pace) *chaos {
	c := chaosOn(t, seed, storetest.StartRedis(t))
	for range 3 {
		c.all = append(c.all, newMutable(t, c.server, pace))
	}
	c.begin(c.server.URL(), pace, map[string]func(){
		"register": c.register, "register again": c.registerAgain, "release": c.release,
		"cut off": c.cutOff, "cut off, until others know": c.cutOffForLong, "join": c.joinOne,
		"emptied": func() { c.disturb(func() { c.server.Do("FLUSHALL") }) },
		"thrown back": func() {
			c.server.Do("SAVE")
			c.register()
			c.disturb(func() {
				c.server.Kill()
				c.outage()
				c.server.Start()
				c.restoreUsers()
			})
		},
		"stopped": func() {
			c.disturb(func() {
				c.server.Pause()
				c.register()
				c.outage()
				c.server.Resume()
			})
		},
	})
	return c
}

// chaosOn is one without replicas.
func chaosOn(t testing.TB, seed uint64, server *storetest.RedisServer) *chaos {
	c := &chaos{TB: t, rand: rand.New(rand.NewPCG(seed, 0)), server: server, join: make(map[*mutable]func())}
	c.model.init()
	return c
}

// begin has these steps happen from now on, and the directory at url watched.
func (c *chaos) begin(url string, pace store.Pace, steps map[string]func()) {
	for name, do := range steps {
		for range map[string]int{"register": 5, "register again": 3, "release": 3}[name] + 1 {
			c.steps = append(c.steps, chaosStep{name, do})
		}
	}
	slices.SortFunc(c.steps, func(a, b chaosStep) int { return strings.Compare(a.name, b.name) }) // a seed is one order
	c.watch(url, pace)
}

// step does one of the steps.
func (c *chaos) step() {
	step := c.steps[c.rand.IntN(len(c.steps))]
	c.change(func() { c.said = append(c.said, step.name) })
	step.do()
}

// outage is how long Redis is away.
func (c *chaos) outage() {
	if c.longest > 0 {
		time.Sleep(time.Duration(c.rand.Int64N(int64(c.longest))))
	}
}

// watch looks at the directory all the time, by two replicas that nothing happens to.
func (c *chaos) watch(url string, pace store.Pace) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	for range 2 {
		observer := quickly(c.TB, store.RedisConfig{URL: url, Keep: time.Hour}, pace)
		c.observers = append(c.observers, observer)
		watching.Go(func() {
			for ctx.Err() == nil {
				c.observe(ctx, observer)
			}
		})
	}
	c.Cleanup(func() { cancel(); watching.Wait() })
}

// observe looks once, and holds what it sees against the model.
func (c *chaos) observe(ctx context.Context, observer *replica) {
	before := time.Now()
	c.reckon(before)
	agents, err := observer.List(ctx, "t")
	if ctx.Err() != nil {
		return
	}
	for i := range agents {
		links := agents[i].Links
		if len(links) > 1 && links[0].Instance != links[len(links)-1].Instance {
			c.Errorf("%s has two owners: %+v", agents[i].Agent, links)
		}
	}
	after := time.Now()
	c.reckon(after)
	c.mu.Lock()
	c.model.compare(observer, before, after, agents, err, c.said)
	c.mu.Unlock()
	time.Sleep(20 * time.Millisecond) // between two looks
}

func (c *chaos) restoreUsers() {
	for _, m := range c.all {
		state := "on"
		if c.join[m] != nil {
			state = "off"
		}
		c.server.Do("ACL", "SETUSER", m.user, state, ">p", "~*", "&*", "+@all")
	}
}

// register has an agent link to any replica, by a new process.
func (c *chaos) register() {
	l := storetest.NewEntry("t", chaosAgents[c.rand.IntN(len(chaosAgents))])
	c.link(l)
}

// registerAgain has a process link once more, to any replica.
func (c *chaos) registerAgain() {
	if held := c.believed(); len(held) > 0 {
		l := held[c.rand.IntN(len(held))].lease
		l.Link = wire.NewID[wire.LinkID]()
		c.link(l)
	}
}

func (c *chaos) link(l wire.Entry) {
	by := c.all[c.rand.IntN(len(c.all))]
	l.Replica = by.id
	ctx, cancel := context.WithTimeout(c.Context(), 50*time.Millisecond)
	defer cancel()
	epoch, err := by.Register(ctx, l)
	if err == nil {
		l.Epoch = epoch
	}
	if err != wire.ErrSuperseded && err != wire.ErrNameTaken {
		c.change(func() { c.held = append(c.held, chaosLink{l, by}) })
	}
}

// change changes what the model is reckoned from.
func (c *chaos) change(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	c.reckon(time.Now())
}

// disturb does something to Redis, which answers when that returns.
func (c *chaos) disturb(f func()) {
	c.change(func() { c.model.answers = time.Time{} })
	f()
	c.server.Do("PING")
	c.change(func() { c.model.answers = time.Now() })
}

func (c *chaos) release() {
	if held := c.believed(); len(held) > 0 {
		i := held[c.rand.IntN(len(held))]
		i.by.Release(i.lease.Link, wire.CauseDrained.String())
		c.change(func() {
			c.held = slices.DeleteFunc(c.held, func(h chaosLink) bool { return h.lease.Link == i.lease.Link })
		})
	}
}

// believed are the links that replicas were not told to have lost.
func (c *chaos) believed() []chaosLink {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.believedLocked())
}

func (c *chaos) believedLocked() []chaosLink {
	c.held = slices.DeleteFunc(c.held, func(h chaosLink) bool {
		return h.by.Has(storetest.LostTo(h.lease.Link, wire.ErrSuperseded)) || h.by.Has(storetest.LostTo(h.lease.Link, wire.ErrNameTaken))
	})
	return c.held
}

func (c *chaos) cutOff() {
	m := c.all[c.rand.IntN(len(c.all))]
	if c.join[m] == nil && len(c.join) < len(c.all)-1 {
		c.cut(m)
	}
}

func (c *chaos) cut(m *mutable) {
	join := m.cut(c.server)
	c.change(func() { c.join[m] = join })
}

func (c *chaos) cutOffForLong() {
	m := c.all[c.rand.IntN(len(c.all))]
	if c.join[m] != nil || len(c.join) > 0 {
		return
	}
	c.cut(m)
	other := c.all[(slices.Index(c.all, m)+1)%len(c.all)]
	storetest.WaitUntil(c.TB, within, "its links are gone", func() bool {
		agents, err := other.List(c.Context(), "t")
		return err == nil && !slices.ContainsFunc(agents, func(a wire.Agent) bool {
			return slices.ContainsFunc(a.Links, func(l wire.Entry) bool { return l.Replica == m.id })
		})
	})
}

func (c *chaos) joinOne() {
	for _, m := range c.all {
		if join := c.join[m]; join != nil {
			join()
			c.change(func() { delete(c.join, m) })
			return
		}
	}
}

// settle gives everybody Redis back, and waits until all see the same, those that have
// only watched, too.
func (c *chaos) settle() {
	for len(c.join) > 0 {
		c.joinOne()
	}
	everybody := slices.Clone(c.observers)
	for _, m := range c.all {
		everybody = append(everybody, m.replica)
	}
	for _, m := range everybody {
		var want, got []string
		for until := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
			want, got = nil, nil
			for _, h := range c.believed() {
				want = append(want, fmt.Sprint(h.lease.Agent, " ", h.lease.Link, " at ", h.by.id))
			}
			agents, err := m.List(c.Context(), "t")
			for i := range agents {
				for _, l := range agents[i].Links {
					got = append(got, fmt.Sprint(l.Agent, " ", l.Link, " at ", l.Replica))
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if err == nil && slices.Equal(want, got) {
				break
			}
			if time.Now().After(until) {
				c.Fatalf("%s lists %q, %v, and replicas believe to hold %q, after %q", m.id, got, err, want, c.said)
			}
		}
	}
}
