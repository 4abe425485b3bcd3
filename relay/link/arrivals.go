package link

import (
	"cmp"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// What bounds the connections of agents to one replica, and with them the memory
// and the processor time that one token can take.
const (
	// maxLinks bounds an agent's connections, from before the upgrade until the
	// socket is closed: an agent needs one, two while it moves, and as many times
	// that as instances share the name.
	maxLinks = 16
	// maxArrivals bounds an agent's handshakes under way, and those it may begin
	// in a second.
	maxArrivals = 4
	// maxHandshakes bounds all handshakes under way: enough to take 5,000 agents
	// back within seconds, few enough to leave the scrapes a core. They are
	// shared by tenant and token: one tenant alone has 128, one token for a
	// pattern 96, of which an agent has maxArrivals.
	maxHandshakes = 192
	// maxUnfinished bounds the target lists that are not yet whole, which are as
	// long as a list may be: 64 MiB by default. One token alone has 16, so that
	// names made up for a pattern's take no more than one agent may. A list that
	// fits one message needs no place.
	maxUnfinished = 32
	// maxMessages bounds the messages that are being read and are longer than
	// shortMessage: 64 MiB of them. One that was begun and is never ended keeps its
	// place for as long as its sender likes; one token alone has half of them.
	maxMessages = 1024
)

// Limits bound what agents bring to one replica. 0 is the default.
type Limits struct {
	// Links of all agents. An idle one takes 20 KiB. They are shared: one tenant
	// alone has two thirds of them, one token half.
	Links int // default 12,000
	// TenantBytes of the target lists that a tenant's links here have declared,
	// encoded. The directory counts them too, for all replicas; this holds without
	// it as well. Agents with tokens for a pattern fill three quarters.
	TenantBytes int // default 32 MiB
}

func (l Limits) orDefault() Limits {
	return Limits{cmp.Or(l.Links, 12_000), cmp.Or(l.TenantBytes, 32<<20)}
}

// arrivals count the connections of agents, and what comes over them.
type arrivals struct {
	limits Limits
	lists  listLimits

	// By token.
	links      *share.Pool
	handshakes *share.Pool
	unfinished *share.Pool // lists
	messages   *share.Pool

	mu      sync.Mutex // guards what follows
	agents  attendances
	bearers attendances    // of a token: all agents that came with it are one
	held    map[string]int // bytes of the lists that are kept, by tenant
}

// An attendance is what an agent, or all that came with one token, have open and
// owe. It is kept for as long as there is any of that. Guarded by arrivals.mu, but
// for decoding.
type attendance struct {
	who      share.Member
	decoding sync.Mutex // held while a list is
	links    int
	arriving int // handshakes under way, or begun in the last second
	declared declaredLists
	debt     debt
}

type attendances map[share.Member]*attendance

// of returns the attendance of somebody, a new one if there is none.
func (a attendances) of(who share.Member, may allowance) *attendance {
	if e := a[who]; e != nil {
		return e
	}
	return &attendance{who: who, debt: debt{allowance: may}}
}

func newArrivals(limits Limits, maxListBytes int) *arrivals {
	places := func(n int) *share.Pool { return share.New(float64(n), float64(n)) }
	return &arrivals{
		limits: limits, lists: listLimits{maxListBytes},
		links: places(limits.Links), handshakes: places(maxHandshakes), unfinished: places(maxUnfinished), messages: places(maxMessages),
		agents: make(attendances), bearers: make(attendances), held: make(map[string]int),
	}
}

// A place is one of a pool's, which a connection has or has not.
type place struct {
	pool  *share.Pool
	of    share.Member
	taken bool
}

// take takes the place, if there is one, and reports whether the connection has it.
func (p *place) take() bool {
	p.taken = p.taken || p.pool.Take(p.of, 1)
	return p.taken
}

// give gives it back, if it was taken.
func (p *place) give() {
	if p.taken {
		p.taken = false
		p.pool.Give(p.of, 1)
	}
}

// A visit is one connection's part in what its agent, and all that came with its
// token, have. It is used by one goroutine at a time.
type visit struct {
	arrivals *arrivals
	agent    *attendance
	bearer   *attendance
	pattern  bool // the token is for one
	began    time.Time

	link      place
	handshake place
	halfList  place // for a list that is not yet whole
	message   place // for a long one

	list *declaredList // of its link; nil before
}

// enter gives a connection its place, or says why there is none.
func (a *arrivals) enter(k wire.AgentKey, c token.Claims) (*visit, *refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &visit{arrivals: a, pattern: c.IsGlob(), began: time.Now()}
	v.agent = a.agents.of(share.Of(k), a.lists.ofAgent())
	v.bearer = a.bearers.of(share.Member{Tenant: k.Tenant, Name: c.ID}, a.lists.ofToken())
	of := func(pool *share.Pool) place { return place{pool: pool, of: v.bearer.who} }
	v.link, v.handshake, v.halfList, v.message = of(a.links), of(a.handshakes), of(a.unfinished), of(a.messages)
	owes := max(v.agent.debt.wait(v.began), v.bearer.debt.wait(v.began))
	switch {
	case v.agent.links >= maxLinks:
		return nil, busy(10*time.Second, "agent %s has %d links to this replica", k.Agent, maxLinks)
	case v.agent.arriving >= maxArrivals:
		return nil, busy(2*time.Second, "agent %s is opening %d links at once", k.Agent, maxArrivals)
	case owes > 0:
		return nil, busy(owes, "agent %s, or all that came with its token, send more than they may", k.Agent)
	case !v.handshake.take():
		return nil, busy(2*time.Second, "too many agents are connecting at once")
	case !v.link.take():
		v.handshake.give()
		return nil, busy(0, "this replica has room for %d links (FARSCRAPE_MAX_LINKS), and for no more that come with this token", a.limits.Links)
	}
	a.agents[v.agent.who], a.bearers[v.bearer.who] = v.agent, v.bearer
	v.agent.links++
	v.agent.arriving++
	v.bearer.links++
	return v, nil
}

// busy refuses for want of a place. within is as in a refusal.
func busy(within time.Duration, format string, args ...any) *refusal {
	return &refusal{http.StatusServiceUnavailable, wire.Overloaded, within, fmt.Sprintf(format, args...), token.None}
}

// arrive ends the handshake, which counts for a second at least.
func (v *visit) arrive() {
	if !v.handshake.taken {
		return
	}
	v.handshake.give()
	arrived := func() {
		v.arrivals.mu.Lock()
		defer v.arrivals.mu.Unlock()
		v.agent.arriving--
		v.arrivals.forget(v.arrivals.agents, v.agent)
	}
	if rest := time.Second - time.Since(v.began); rest > 0 {
		time.AfterFunc(rest, arrived)
		return
	}
	arrived()
}

// readLong takes a place for a message that is longer than shortMessage, and reports
// whether there is one. A visit that has a place for its list needs none for the
// messages: it would wait for those who wait for its own.
func (v *visit) readLong() bool { return v.halfList.taken || v.message.take() }

// close gives all back: the connection is closed.
func (v *visit) close() {
	v.arrive()
	v.halfList.give()
	v.link.give()
	v.drop()
	a := v.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	v.agent.links--
	v.bearer.links--
	a.forget(a.agents, v.agent)
	a.forget(a.bearers, v.bearer)
}

// forget forgets who has nothing open, once it owes nothing. a.mu is held.
func (a *arrivals) forget(from attendances, e *attendance) {
	if e.links > 0 || e.arriving > 0 || from[e.who] != e {
		return
	}
	if rest := e.debt.paid(time.Now()); rest > 0 {
		time.AfterFunc(rest, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.forget(from, e)
		})
		return
	}
	delete(from, e.who)
}
