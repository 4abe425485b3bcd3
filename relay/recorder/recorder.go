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
	// eventsEach is how many events of a kind may come at once of one agent, and
	// eachHalf when half of what has come may come again: 8 of a kind in an hour, for
	// three instances with two links each that are moved every 50 minutes. An agent
	// that does nothing but come and go makes 400 in a day, so that it does not drive
	// the others' out of a journal of 10,000. Who has had a share is remembered for
	// 100 minutes and more: 230,000 names, or 30 MB, where all tokens flood.
	eventsEach = 6
	eachHalf   = 30 * time.Minute
	// maxEvents is how many may come at once of all: a fleet of 10,000 that comes
	// back. One tenant alone has two thirds of it, and the agents of one token half.
	// allHalf is when half of it may come again: 38 in a second.
	maxEvents = 16 << 10
	allHalf   = 5 * time.Minute
	// tellEvery is how often a journal is told of what was left out, and maxTold of
	// how many of a tenant's agents then.
	tellEvery = 10 * time.Minute
	maxTold   = 64
)

// A keeper keeps the journals. It must not wait.
type keeper interface{ Record(wire.Event) }

// A Recorder shares the places in journals among those whose events they are.
type Recorder struct {
	replica wire.ReplicaID
	keeper  keeper
	lost    prometheus.Counter
	each    *share.Pool // of an agent, and of each kind: a flood of one hides none of another
	tokens  *share.Pool

	mu      sync.Mutex                // guards what follows
	leftOut map[string]map[string]int // of a tenant's agents, since it was last told
	told    time.Time
}

// New makes a Recorder of a replica's events. leftOut counts those that it leaves out.
func New(replica wire.ReplicaID, k keeper, leftOut prometheus.Counter) *Recorder {
	return &Recorder{
		replica: replica, keeper: k, lost: leftOut,
		each: share.New(maxEvents*float64(len(wire.EventKinds())), eventsEach), tokens: share.New(maxEvents, maxEvents),
		leftOut: make(map[string]map[string]int), told: time.Now(),
	}
}

// Record puts an event of an agent that came with the token of that ID into the
// journal. It never waits.
func (r *Recorder) Record(e wire.Event, token string) {
	agent := share.Member{Tenant: e.Tenant, Name: e.Agent + " " + string(e.Kind)}
	if !r.each.Take(agent, 1) {
		r.leaveOut(e.AgentKey)
		return
	}
	if !r.tokens.Take(share.Member{Tenant: e.Tenant, Name: token}, 1) {
		r.each.Give(agent, 1)
		r.leaveOut(e.AgentKey)
		return
	}
	r.keep(e)
}

func (r *Recorder) keep(e wire.Event) {
	e.Time, e.Replica = time.Now(), r.replica
	e.Clip()
	r.keeper.Record(e)
}

func (r *Recorder) leaveOut(k wire.AgentKey) {
	r.lost.Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.leftOut[k.Tenant]
	if of == nil {
		of = make(map[string]int)
		r.leftOut[k.Tenant] = of
	}
	if _, known := of[k.Agent]; known || len(of) < maxTold {
		of[k.Agent]++
	}
}

// Forgive lets in what may come again after that time, and has journals say what was
// left out.
func (r *Recorder) Forgive(after time.Duration) {
	r.each.Forgive(after, eachHalf)
	r.tokens.Forgive(after, allHalf)
	now := time.Now()
	r.mu.Lock()
	if now.Sub(r.told) < tellEvery {
		r.mu.Unlock()
		return
	}
	leftOut := r.leftOut
	r.leftOut, r.told = make(map[string]map[string]int), now
	r.mu.Unlock()
	for tenant, agents := range leftOut {
		for agent, n := range agents {
			r.keep(wire.Event{Kind: wire.EventLeftOut, AgentKey: wire.AgentKey{Tenant: tenant, Agent: agent},
				Detail: fmt.Sprintf("%d more events within %.0f minutes", n, tellEvery.Minutes())})
		}
	}
}
