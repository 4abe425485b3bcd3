package agent

import (
	"context"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A keeper keeps as many links as there should be, each to another replica. It
// dials one at a time: the next dial names the replicas that are held.
type keeper struct {
	agent   *Agent
	changed chan struct{} // has one element if a link or the number of replicas has changed
	dialed  chan dialed
	ended   chan ended

	// Owned by run.
	links   map[*link]bool // true: it drains, and a dial without backoff was made for it
	dialing bool
	backoff backoff
	next    time.Time // no dial before
	yield   time.Time // nor before this: another agent holds the name
	yields  int       // waits for it since a link was held
	span    lifespan
	met     int // dials in a row that met a replica that is held already

	mu       sync.Mutex
	replicas int // alive, as last told
	welcomed int // links that are welcomed and not draining
	leaving  int // of those replicas, are about to exit: counted as alive until they have
}

// dialed is how a dial went.
type dialed struct {
	link *link
	held []wire.LinkID
	cut  time.Duration // the age that links are cut at, if it is known
	err  error
}

// ended says that a link is no more.
type ended struct {
	link  *link
	cause wire.Cause
}

func newKeeper(a *Agent) *keeper {
	return &keeper{
		agent: a, changed: make(chan struct{}, 1), dialed: make(chan dialed), ended: make(chan ended),
		links: make(map[*link]bool), replicas: 1,
	}
}

// run keeps links until ctx ends, and returns when the last has.
func (k *keeper) run(ctx context.Context) {
	stop := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for stop != nil || k.dialing || len(k.links) > 0 {
		select {
		case <-stop:
			stop = nil // links say goodbye by themselves: ctx is theirs too
		case <-k.changed:
		case <-timer.C:
		case d := <-k.dialed:
			k.dialing = false
			k.took(ctx, d)
		case e := <-k.ended:
			k.lost(ctx, e)
		}
		k.review()
		if stop == nil || !k.wanting() {
			continue
		}
		if wait := max(time.Until(k.next), time.Until(k.yield)); wait > 0 {
			timer.Reset(wait)
		} else {
			k.dial(ctx)
		}
	}
}

// dial opens a link, in its own goroutine.
func (k *keeper) dial(ctx context.Context) {
	k.dialing = true
	replicas, links := k.held()
	cut := k.span.limit
	go func() {
		conn, sock, err := k.agent.dial(ctx, replicas)
		if err != nil {
			k.dialed <- dialed{err: err}
			return
		}
		k.dialed <- dialed{link: newLink(k.agent, conn, sock, k.poke), held: links, cut: cut}
	}()
}

// held lists the replicas that the next link should not be to, and all links. One
// that drains a link is named only if there is another to be had: that of a link
// which has merely grown old is as good as any.
func (k *keeper) held() (replicas []wire.ReplicaID, links []wire.LinkID) {
	var drained []wire.ReplicaID
	for l, draining := range k.links {
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
	if len(replicas)+len(drained) < k.alive() {
		replicas = append(replicas, drained...)
	}
	return replicas, links
}

// took starts a link that was dialled, or waits with the next dial.
func (k *keeper) took(ctx context.Context, d dialed) {
	a := k.agent
	a.metrics.dials.WithLabelValues(dialResult(d.err)).Inc()
	if d.err == nil {
		k.links[d.link] = false
		k.met = 0
		go func() { k.ended <- ended{d.link, d.link.run(ctx, d.held, d.cut)} }()
		return
	}
	if ctx.Err() != nil {
		return
	}
	wait := k.waitAfter(d.err)
	k.next = time.Now().Add(wait)
	a.config.logDial(a.log, d.err, wait)
}

// lost takes note of a link's end.
func (k *keeper) lost(ctx context.Context, e ended) {
	delete(k.links, e.link)
	if ctx.Err() != nil {
		e.link.logger().Info("link closed", "cause", e.cause)
		return
	}
	k.agent.metrics.reconnects.WithLabelValues(e.cause.String()).Inc()
	now, age := time.Now(), e.link.age()
	k.span.lost(e.cause, age, now)
	k.next = now.Add(k.backoff.lost(now, age))
	if e.cause == wire.CauseSuperseded || e.cause == wire.CauseNameTaken {
		k.makeWay(now, age)
	}
	k.agent.config.logLost(e.link.logger(), e.cause, e.link.parting, age)
}

// makeWay stays away after a link of that age was lost to another agent of the name.
// All links are lost to it at once, and count as one.
func (k *keeper) makeWay(now time.Time, age time.Duration) {
	if now.Before(k.yield) {
		return
	}
	if age >= stable {
		k.yields = 0
	}
	k.yield = now.Add(yieldWait(k.yields))
	k.yields++
}

// waitAfter is how long to wait after a dial failed: what the replica says wins.
func (k *keeper) waitAfter(err error) time.Duration {
	refused, ok := err.(*refusal)
	switch {
	case ok && refused.held():
		bound := refused.retryAfter
		if bound == 0 {
			bound = heldWait
		}
		// The next may meet another; but where a balancer sends an address
		// always to the same one, it will not.
		k.met++
		return within(max(bound, min(backoffCap, bound<<max(0, min(k.met, 20)-patience))))
	case ok && refused.retryAfter > 0:
		return within(refused.retryAfter)
	}
	return k.backoff.failed(time.Now())
}

// review looks at what the links have become: it makes way for the successor of
// one that drains, and lets those go that have been succeeded.
func (k *keeper) review() {
	registered, welcomed, leaving := 0, 0, 0
	for l, seen := range k.links {
		w, draining := l.welcomed(), l.isDraining()
		if l.isLeaving() {
			leaving++
		}
		if draining && !seen {
			k.links[l] = true
			k.met = 0
			if l.age() >= stable { // a replica that drains every link at once gets the backoff
				k.next = time.Time{}
			}
		}
		if w != nil && !draining {
			welcomed++
			if w.Registered {
				registered++
			}
		}
	}
	want := k.setWelcomed(welcomed, leaving)
	if registered >= want {
		for l, draining := range k.links {
			if draining {
				l.move()
			}
		}
	}
}

// wanting reports whether to dial, now or after the backoff: one at a time, and
// not while a link waits for its welcome.
func (k *keeper) wanting() bool {
	live := 0
	for l, draining := range k.links {
		if l.welcomed() == nil {
			return false
		}
		if !draining {
			live++
		}
	}
	return !k.dialing && live < k.want() && len(k.links) < 2*k.agent.config.Links+2
}

// replicasAlive takes note of how many replicas one says there are.
func (k *keeper) replicasAlive(n int) {
	if n < 1 {
		return
	}
	k.mu.Lock()
	changed := k.replicas != n
	k.replicas = n
	k.mu.Unlock()
	if changed {
		k.poke()
	}
}

// alive is how many replicas there are, as last told.
func (k *keeper) alive() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.replicas
}

func (k *keeper) poke() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// want is how many links there should be.
func (k *keeper) want() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return min(k.agent.config.Links, max(k.replicas-k.leaving, 1))
}

// setWelcomed takes note of how many links there are, and how many to replicas
// that are about to exit, and returns how many there should be.
func (k *keeper) setWelcomed(n, leaving int) int {
	k.mu.Lock()
	k.welcomed, k.leaving = n, leaving
	k.mu.Unlock()
	return k.want()
}

// have is how many links are welcomed and not draining.
func (k *keeper) have() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.welcomed
}
