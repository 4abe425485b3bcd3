package agent

import (
	"context"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A connector keeps as many links as there should be, each to another replica. It
// dials one at a time: the next dial names the replicas that are held.
type connector struct {
	agent   *Agent
	changed chan struct{} // has one element if a link or the number of replicas has changed
	dialed  chan dialed
	ends    chan linkEnd

	// Owned by run.
	links   map[*link]bool // true: it drains, and a dial without backoff was made for it
	dialing bool
	backoff backoff
	next    time.Time // no dial before
	yield   time.Time // nor before this: another agent holds the name
	yields  int       // waits for it since a link was held
	cutAge  cutAge
	met     int // dials in a row that met a replica that is held already

	mu       sync.Mutex
	replicas int // alive, as last told
	welcomed int // links that are welcomed and not draining
	exiting  int // of those replicas, are about to exit: counted as alive until they have
}

// dialed is how a dial went.
type dialed struct {
	link *link
	held []wire.LinkID
	cut  time.Duration // the age that links are cut at, if it is known
	err  error
}

// A linkEnd says that a link is no more.
type linkEnd struct {
	link  *link
	cause wire.Cause
}

func newConnector(a *Agent) *connector {
	return &connector{
		agent: a, changed: make(chan struct{}, 1), dialed: make(chan dialed), ends: make(chan linkEnd),
		links: make(map[*link]bool), replicas: 1,
	}
}

// run keeps links until ctx ends, and returns when the last has.
func (c *connector) run(ctx context.Context) {
	stop := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for stop != nil || c.dialing || len(c.links) > 0 {
		select {
		case <-stop:
			stop = nil // links say goodbye by themselves: ctx is theirs too
		case <-c.changed:
		case <-timer.C:
		case d := <-c.dialed:
			c.dialing = false
			c.took(ctx, d)
		case e := <-c.ends:
			c.lost(ctx, e)
		}
		c.review()
		if stop == nil || !c.wanting() {
			continue
		}
		if wait := max(time.Until(c.next), time.Until(c.yield)); wait > 0 {
			timer.Reset(wait)
		} else {
			c.dial(ctx)
		}
	}
}

// dial opens a link, in its own goroutine.
func (c *connector) dial(ctx context.Context) {
	c.dialing = true
	replicas, links := c.held()
	cut := c.cutAge.known
	go func() {
		conn, sock, err := c.agent.dial(ctx, replicas)
		if err != nil {
			c.dialed <- dialed{err: err}
			return
		}
		c.dialed <- dialed{link: newLink(c.agent, conn, sock, c.poke), held: links, cut: cut}
	}()
}

// held lists the replicas that the next link should not be to, and all links. One
// that drains a link is named only if there is another to be had: that of a link
// which has merely grown old is as good as any.
func (c *connector) held() (replicas []wire.ReplicaID, links []wire.LinkID) {
	var drained []wire.ReplicaID
	for l, draining := range c.links {
		w := l.welcomed()
		if w == nil {
			continue
		}
		links = append(links, w.Link)
		if draining {
			drained = append(drained, w.Replica)
		} else {
			replicas = append(replicas, w.Replica)
		}
	}
	if len(replicas)+len(drained) < c.alive() {
		replicas = append(replicas, drained...)
	}
	return replicas, links
}

// took starts a link that was dialled, or waits with the next dial.
func (c *connector) took(ctx context.Context, d dialed) {
	a := c.agent
	a.metrics.dials.WithLabelValues(dialResult(d.err)).Inc()
	if d.err == nil {
		c.links[d.link] = false
		c.met = 0
		go func() { c.ends <- linkEnd{d.link, d.link.run(ctx, d.held, d.cut)} }()
		return
	}
	if ctx.Err() != nil {
		return
	}
	wait := c.waitAfter(d.err)
	c.next = time.Now().Add(wait)
	a.config.logDial(a.log, d.err, wait)
}

// lost takes note of a link's end.
func (c *connector) lost(ctx context.Context, e linkEnd) {
	delete(c.links, e.link)
	if ctx.Err() != nil {
		e.link.logger().Info("link closed", "cause", e.cause)
		return
	}
	c.agent.metrics.reconnects.WithLabelValues(e.cause.String()).Inc()
	now, age := time.Now(), e.link.age()
	c.cutAge.lost(e.cause, age, now)
	c.next = now.Add(c.backoff.lost(now, e.cause, age))
	if e.cause == wire.CauseSuperseded || e.cause == wire.CauseNameTaken {
		c.makeWay(now, age)
	}
	c.agent.config.logLost(e.link.logger(), e.cause, e.link.parting, age)
}

// makeWay stays away after a link of that age was lost to another agent of the name.
// All links are lost to it at once, and count as one.
func (c *connector) makeWay(now time.Time, age time.Duration) {
	if now.Before(c.yield) {
		return
	}
	if age >= stable {
		c.yields = 0
	}
	c.yield = now.Add(yieldWait(c.yields))
	c.yields++
}

// waitAfter is how long to wait after a dial failed: what the replica says wins.
func (c *connector) waitAfter(err error) time.Duration {
	refused, ok := err.(*upgradeError)
	switch {
	case ok && refused.held():
		bound := refused.retryAfter
		if bound == 0 {
			bound = heldWait
		}
		// The next may meet another; but where a balancer sends an address
		// always to the same one, it will not.
		c.met++
		return within(max(bound, min(backoffCap, bound<<max(0, min(c.met, 20)-patience))))
	case ok && refused.retryAfter > 0:
		return within(refused.retryAfter)
	}
	return c.backoff.failed(time.Now())
}

// review looks at what the links have become: it makes way for the successor of
// one that drains, and lets those go that have been succeeded.
func (c *connector) review() {
	registered, welcomed, exiting := 0, 0, 0
	for l, seen := range c.links {
		w, draining := l.welcomed(), l.isDraining()
		if l.isExiting() {
			exiting++
		}
		if draining && !seen {
			c.links[l] = true
			c.met = 0
			if l.age() >= stable { // a replica that drains every link at once gets the backoff
				c.next = time.Time{}
			}
		}
		if w != nil && !draining {
			welcomed++
			if w.Registered {
				registered++
			}
		}
	}
	want := c.setWelcomed(welcomed, exiting)
	if registered >= want {
		for l, draining := range c.links {
			if draining {
				l.move()
			}
		}
	}
}

// wanting reports whether to dial, now or after the backoff: one at a time, and
// not while a link waits for its welcome.
func (c *connector) wanting() bool {
	live := 0
	for l, draining := range c.links {
		if l.welcomed() == nil {
			return false
		}
		if !draining {
			live++
		}
	}
	return !c.dialing && live < c.want() && len(c.links) < 2*c.agent.config.Links+2
}

// replicasAlive takes note of how many replicas one says there are.
func (c *connector) replicasAlive(n int) {
	if n < 1 {
		return
	}
	c.mu.Lock()
	changed := c.replicas != n
	c.replicas = n
	c.mu.Unlock()
	if changed {
		c.poke()
	}
}

// alive is how many replicas there are, as last told.
func (c *connector) alive() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replicas
}

func (c *connector) poke() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// want is how many links there should be.
func (c *connector) want() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(c.agent.config.Links, max(c.replicas-c.exiting, 1))
}

// setWelcomed takes note of how many links there are, and how many to replicas
// that are about to exit, and returns how many there should be.
func (c *connector) setWelcomed(n, exiting int) int {
	c.mu.Lock()
	c.welcomed, c.exiting = n, exiting
	c.mu.Unlock()
	return c.want()
}

// have is how many links are welcomed and not draining.
func (c *connector) have() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcomed
}
