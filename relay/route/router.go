package route

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/singleflight"

	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/wire"
)

// A directory says who holds which agent.
type directory interface {
	Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error)
	List(ctx context.Context, tenant string) ([]wire.Agent, error)
	Forget(ctx context.Context, k wire.AgentKey) error
}

// Config is what a Router is made of. All fields are required.
type Config struct {
	Replica   wire.ReplicaID
	Directory directory
	Links     *link.Links
	OwnHosts  wire.Hosts // no agent may declare an address there

	MaxInflightTarget int // scrapes
	MaxInflightAgent  int

	Go         func(f func()) bool // runs what outlives its request, unless the replica is about to end
	Registerer prometheus.Registerer
}

// A Router finds the way of scrapes, and keeps what the directory said of agents
// and tenants.
type Router struct {
	Config
	base    context.Context
	asked   *prometheus.CounterVec // the directory, by what it said
	cache   *cache
	lookups singleflight.Group
	names   nameClaims
	notices notices
	kept    listings
	gates   *gates
}

// New makes a Router. Its questions to the directory end with ctx.
func New(ctx context.Context, c Config) *Router {
	r := &Router{Config: c, base: ctx, cache: newCache(), gates: newGates()}
	r.asked = promauto.With(c.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_directory_lookups_total",
		Help: "Questions to the directory, by what it said: linked, offline, unknown or error.",
	}, []string{"result"})
	for _, result := range []string{"linked", "offline", "unknown", "error"} {
		r.asked.WithLabelValues(result)
	}
	return r
}

// Tend gives up what is too old, and looks for what agents are to be told. It is
// called four times a second.
func (r *Router) Tend(now time.Time) {
	r.cache.expire(now)
	r.kept.expire(now)
	r.lookForRefusals(now)
}

// Forget makes the next scrape of an agent ask the directory.
func (r *Router) Forget(k wire.AgentKey) { r.cache.forget(k) }

// LastLength is how long the last answer of a target over the bus was, in bytes; 0
// if that is not known.
func (r *Router) LastLength(k wire.AgentKey, target string) int64 {
	return r.cache.lastLength(k, target)
}

// SetLength notes how long one was.
func (r *Router) SetLength(k wire.AgentKey, target string, bytes int64) {
	r.cache.setLength(k, target, bytes)
}

// Distrust makes what was listed too old for discovery: the directory may be away.
func (r *Router) Distrust(now time.Time) { r.kept.stale(now) }

// Inflight is how many scrapes are admitted or wait to be.
func (r *Router) Inflight() int { return r.gates.inflight() }

func (r *Router) countLookup(agent *wire.Agent, err error) {
	result := "linked"
	switch {
	case err != nil:
		result = "error"
	case agent == nil:
		result = "unknown"
	case !agent.Connected():
		result = "offline"
	}
	r.asked.WithLabelValues(result).Inc()
}
