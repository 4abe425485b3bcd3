package relay

import (
	"fmt"
	"net/http"
	"sync"
	"time"

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
)

// arrivals count the connections of agents, and what comes over them.
type arrivals struct {
	handshakes *shares // by token
	unfinished *shares // lists, by token
	lists      listLimits

	mu     sync.Mutex
	agents map[wire.AgentKey]*attendance // guarded by mu
}

// An attendance is what an agent has open, and what it owes. Guarded by
// arrivals.mu, but for decoding.
type attendance struct {
	decoding sync.Mutex // held while a list of the agent's is: what all declare is decoded once
	links    int
	arriving int // handshakes under way, or begun in the last second
	declared declaredLists
	debt     debt
}

func newArrivals(maxListBytes int) *arrivals {
	return &arrivals{
		handshakes: newShares(maxHandshakes, maxHandshakes), unfinished: newShares(maxUnfinished, maxUnfinished),
		lists: listLimits{maxListBytes}, agents: make(map[wire.AgentKey]*attendance),
	}
}

// A visit is one connection's place among its agent's. It is used by one
// goroutine at a time.
type visit struct {
	arrivals *arrivals
	key      wire.AgentKey
	token    member
	began    time.Time
	arrived  bool
	list     *declaredList // of its link; nil before
	halfway  bool          // has a place for a list that is not yet whole
}

// enter gives a connection its place, or says why there is none.
func (a *arrivals) enter(k wire.AgentKey, tokenID string) (*visit, *refusal) {
	v := &visit{arrivals: a, key: k, token: member{k.Tenant, tokenID}, began: time.Now()}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.agents[k]
	if e == nil {
		e = &attendance{}
	}
	switch {
	case e.links >= maxLinks:
		return nil, busy(10*time.Second, "agent %s has %d links to this replica", k.Agent, maxLinks)
	case e.arriving >= maxArrivals:
		return nil, busy(2*time.Second, "agent %s is opening %d links at once", k.Agent, maxArrivals)
	case e.debt.wait(v.began, a.lists) > 0:
		return nil, busy(e.debt.wait(v.began, a.lists), "agent %s sends more than it may", k.Agent)
	case !a.handshakes.take(v.token, 1):
		return nil, busy(2*time.Second, "too many agents are connecting at once")
	}
	a.agents[k] = e
	e.links++
	e.arriving++
	return v, nil
}

func busy(within time.Duration, format string, args ...any) *refusal {
	return &refusal{http.StatusServiceUnavailable, wire.Overloaded, within, fmt.Sprintf(format, args...)}
}

// arrive ends the handshake; its place is the agent's for a second at least.
func (v *visit) arrive() {
	if v.arrived {
		return
	}
	v.arrived = true
	v.arrivals.handshakes.give(v.token, 1)
	if rest := time.Second - time.Since(v.began); rest > 0 {
		time.AfterFunc(rest, func() { v.arrivals.part(v.key, 0, 1) })
		return
	}
	v.arrivals.part(v.key, 0, 1)
}

// leave gives the connection's place back: it is closed.
func (v *visit) leave() {
	v.arrive()
	v.finish()
	v.drop()
	v.arrivals.part(v.key, 1, 0)
}

// part forgets an agent that has nothing open once it owes nothing.
func (a *arrivals) part(k wire.AgentKey, links, arriving int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.agents[k]
	if e == nil {
		return
	}
	e.links -= links
	e.arriving -= arriving
	if e.links > 0 || e.arriving > 0 {
		return
	}
	if rest := e.debt.paid(time.Now(), a.lists); rest > 0 {
		time.AfterFunc(rest, func() { a.part(k, 0, 0) })
		return
	}
	delete(a.agents, k)
}
