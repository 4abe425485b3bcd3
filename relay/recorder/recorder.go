// Package recorder bounds what agents can put into their tenants' journals, each its
// share, and says there how much was left out.
package recorder

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// What bounds the events that one replica takes.
const (
	// eventsEach is how many events of a kind may come at once of one agent with one
	// holder, and eachHalf when half of what has come may come again: 8 of a kind in an
	// hour, for three instances with two links each that are moved every 50 minutes. An
	// agent that does nothing but come and go makes 400 in a day. Who has had a share is
	// remembered for 100 minutes and more: 230,000 names, or 30 MB, where all tokens
	// flood.
	eventsEach = 6
	eachHalf   = 30 * time.Minute
	// maxEvents is how many may come at once of all: a fleet of 10,000 that comes
	// back. One tenant alone has two thirds of it. allHalf is when half of it may come
	// again: 38 in a second.
	maxEvents = 16 << 10
	allHalf   = 5 * time.Minute
	// tellEvery is how often the replicas together tell a journal what was left out of
	// a token's agents, and maxTold of how many of a tenant's tokens one does.
	tellEvery = 10 * time.Minute
	maxTold   = 64
)

// A keeper keeps the journals. It must not wait.
type keeper interface{ Record(wire.Event) }

// A fleet knows how many replicas are alive, this one with them; at least 1.
type fleet interface{ Replicas() int }

// A Recorder shares the places in journals among those whose events they are.
type Recorder struct {
	replica wire.ReplicaID
	keeper  keeper
	fleet   fleet
	lost    prometheus.Counter
	each    *share.Pool // of an agent, and of each kind: a flood of one hides none of another
	tokens  *share.Pool // of what comes now
	parts   *share.Pool // of the journal, a token's

	mu      sync.Mutex                   // guards what follows
	leftOut map[string]map[string]*tally // by tenant and holder, since it was last told
	told    time.Time
}

// A tally is what was left out of a token's agents: how many events, and whose was the
// last.
type tally struct {
	events int
	agent  string
}

// New makes a Recorder of a replica's events. leftOut counts those that it leaves out.
func New(replica wire.ReplicaID, k keeper, f fleet, leftOut prometheus.Counter) *Recorder {
	return &Recorder{
		replica: replica, keeper: k, fleet: f, lost: leftOut,
		each: share.New(maxEvents*float64(len(wire.EventKinds())), eventsEach), tokens: share.New(maxEvents, maxEvents), parts: newParts(),
		leftOut: make(map[string]map[string]*tally), told: time.Now(),
	}
}

// Record puts an event of an agent into the journal, and counts it as its holder's: of
// the token that the agent has. It never waits.
func (r *Recorder) Record(e wire.Event, holder string) {
	if r.take(&e, holder) {
		r.keep(e)
	} else {
		r.leaveOut(e.AgentKey, holder)
	}
}

// take takes an event's place in each of the shares, or in none.
func (r *Recorder) take(e *wire.Event, holder string) bool {
	// With its holder: who else may take an agent's name takes none of its share.
	agent := share.Member{Tenant: e.Tenant, Name: holder + " " + e.Agent + " " + string(e.Kind)}
	if !r.each.Take(agent, 1) {
		return false
	}
	part, weight := partOf(e, holder, r.fleet.Replicas())
	if !r.parts.Take(part, weight) {
		r.each.Give(agent, 1)
		return false
	}
	if !r.tokens.Take(share.Member{Tenant: e.Tenant, Name: holder}, 1) {
		r.each.Give(agent, 1)
		r.parts.Give(part, weight)
		return false
	}
	return true
}

func (r *Recorder) keep(e wire.Event) {
	e.Time, e.Replica = time.Now(), r.replica
	e.Clip()
	r.keeper.Record(e)
}

func (r *Recorder) leaveOut(k wire.AgentKey, holder string) {
	r.lost.Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.leftOut[k.Tenant]
	if of == nil {
		of = make(map[string]*tally)
		r.leftOut[k.Tenant] = of
	}
	t := of[holder]
	if t == nil {
		if len(of) == maxTold {
			return
		}
		t = new(tally)
		of[holder] = t
	}
	t.events++
	t.agent = k.Agent
}

// Forgive lets in what may come again after that time, and has journals say what was
// left out, of each token by one event.
func (r *Recorder) Forgive(after time.Duration) {
	r.each.Forgive(after, eachHalf)
	r.tokens.Forgive(after, allHalf)
	r.parts.Forgive(after, partHalf)
	now, every := time.Now(), tellEvery*time.Duration(r.fleet.Replicas())
	r.mu.Lock()
	since := now.Sub(r.told)
	if since < every {
		r.mu.Unlock()
		return
	}
	leftOut := r.leftOut
	r.leftOut, r.told = make(map[string]map[string]*tally), now
	r.mu.Unlock()
	for tenant, holders := range leftOut {
		for _, t := range holders {
			r.keep(wire.Event{Kind: wire.EventLeftOut, AgentKey: wire.AgentKey{Tenant: tenant, Agent: t.agent},
				Detail: fmt.Sprintf("%d more events of its token's agents within %.0f minutes", t.events, since.Minutes())})
		}
	}
}
