package attempt

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// A Hop is where an attempt's own frames go: a link held here, or the replica that
// holds it. Neither call waits for the other end.
type Hop interface {
	Request(k wire.AttemptKey, q *wire.Request, to wire.Receiver)
	Pass(f wire.Frame) error // a CREDIT or CANCEL
}

// A router finds links, and remembers what became of them.
type router interface {
	// Find finds a route for the scrape that uses none of the tried links.
	Find(ctx context.Context, k wire.AgentKey, s *wire.Scrape, tried []wire.LinkID) (*wire.Route, *wire.Error)
	Forget(k wire.AgentKey)
	LastLength(k wire.AgentKey, target string) int64 // of the answer over the bus, in bytes; 0 if unknown
	SetLength(k wire.AgentKey, target string, bytes int64)
}

// Config is what Attempts are made of. All fields are required.
type Config struct {
	Router    router
	Hop       func(*wire.Route) Hop
	RoundTrip func() time.Duration // to another replica and back

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Attempts are those of one edge's scrapes.
type Attempts struct {
	Config
	retried  *prometheus.CounterVec
	retries  retryBudget
	overBus  *share.Pool // credit of all answers over the bus
	local    *share.Pool // credit of local answers, beyond their base
	segments segmentPool

	mu      sync.Mutex
	pending map[wire.AttemptKey]*attempt // over the bus, and not over; guarded by mu
}

// New makes the Attempts of an edge.
func New(c Config) *Attempts {
	a := &Attempts{
		Config: c, retries: newRetryBudget(), pending: make(map[wire.AttemptKey]*attempt),
		overBus: share.New(busPool, busPool), local: share.New(localPool, localPool),
	}
	with := promauto.With(c.Registerer)
	a.retried = with.NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_scrape_retries_total",
		Help: "Scrapes tried a second time, by the route and the reason that failed first.",
	}, []string{"route", "reason"})
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_credit_lent_bytes", Help: fmt.Sprintf("Credit of bus answers beyond their first, of %d MiB.", busPool>>20),
	}, a.overBus.Taken)
	return a
}

// Scrape has the target of a route asked and returns its answer as soon as it is
// whole, or as its window is nearly full. Until then a lost link costs a retry over
// another and nothing else. ctx must have the scrape's deadline and must outlive the
// reading of the body; done is called when that is closed, unless Scrape fails.
func (a *Attempts) Scrape(ctx context.Context, s *wire.Scrape, rt *wire.Route, done func()) (*wire.Answer, *wire.Error) {
	a.retries.earn(rt.Agent)
	t := tries{attempts: a, ctx: ctx, scrape: s, id: wire.NewScrapeID(), route: rt}
	for {
		x := t.start()
		nack := x.await(ctx, t.findNext)
		if nack == nil {
			return x.answer(ctx, done), nil
		}
		x.cancel()
		if !t.goOn(nack) {
			return nil, &nack.Error
		}
	}
}

// extensions are those of each request.
var extensions = wire.Extensions(nil).With(wire.ExtensionReasons, []byte{byte(wire.LastReason)})

// Receive takes a frame that another replica sent for an attempt.
func (a *Attempts) Receive(from wire.ReplicaID, f wire.Frame) {
	a.mu.Lock()
	x := a.pending[f.Key()]
	a.mu.Unlock()
	if x != nil && x.route.Replica == from {
		x.Receive(f)
	}
}

// Lost ends the attempts that go through a replica, or through any if it is empty:
// what was on its way may be lost.
func (a *Attempts) Lost(through wire.ReplicaID, why *wire.Error) {
	for _, x := range a.through(through) {
		x.lose(why)
	}
}

func (a *Attempts) through(id wire.ReplicaID) (found []*attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.pending {
		if id == "" || x.route.Replica == id {
			found = append(found, x)
		}
	}
	return found
}

// Forgive lets agents owe for retries again after that time.
func (a *Attempts) Forgive(after time.Duration) { a.retries.forgive(after) }

// start sends a request.
func (a *Attempts) start(ctx context.Context, s *wire.Scrape, rt *wire.Route, k wire.AttemptKey) *attempt {
	x := &attempt{attempts: a, key: k, route: rt, hop: a.Hop(rt), changed: make(chan struct{}, 1)}
	if rt.Local {
		x.window = localWindow(a.local, rt.Agent)
	} else {
		x.window = busWindow(a.overBus, rt.Agent, a.Router.LastLength(rt.Agent, rt.Target))
	}
	x.asked = wire.Request{
		Remaining: wire.Remaining(ctx), Credit: uint32(x.window.granted), Link: rt.Link,
		Tenant: rt.Agent.Tenant, Agent: rt.Agent.Agent, Target: rt.Target, Rest: rt.Rest, Query: s.Query, Header: s.Header,
		Extensions: extensions,
	}
	if err := x.asked.Fits(); err != nil {
		x.endLocked(&wire.Nack{Error: *wire.Errorf(wire.BadRequest, "%v", err)})
		return x
	}
	if !rt.Local {
		a.add(x)
	}
	x.hop.Request(k, &x.asked, x)
	return x
}

func (a *Attempts) add(x *attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending[x.key] = x
}

func (a *Attempts) remove(x *attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pending[x.key] == x {
		delete(a.pending, x.key)
	}
}
