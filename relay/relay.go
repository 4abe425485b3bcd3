package relay

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/farscrape/farscrape/relay/attempt"
	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/join"
	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/loglimit"
	"github.com/farscrape/farscrape/relay/recorder"
	"github.com/farscrape/farscrape/relay/route"
	"github.com/farscrape/farscrape/relay/tarpit"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A directory says who holds which agent. It outlives replicas.
type directory interface {
	Register(ctx context.Context, l wire.Entry) (epoch uint64, err error)
	Update(link wire.LinkID, list *wire.TargetList)
	Renewed(link wire.LinkID, expires time.Time)
	Release(link wire.LinkID, cause string)
	Lookup(ctx context.Context, k wire.AgentKey) (*wire.Agent, error)
	List(ctx context.Context, tenant string) ([]wire.Agent, error)
	Forget(ctx context.Context, k wire.AgentKey) error
	Join(ctx context.Context, j wire.Join) (again bool, err error)
	Replicas() int                  // alive, this one with them, as last counted; at least 1
	Alone(ctx context.Context) bool // whether it is sure, now, that no other is alive
	Links() int                     // that they hold
	AllHave(key string) bool        // whether all that may be alive have said that they check with that key
}

// A bus carries frames to other replicas, at most once and in order.
type bus interface {
	Send(to wire.ReplicaID, f wire.Frame) error
	RoundTrip() time.Duration
}

// A journal keeps what has happened to tenants' agents. It does not wait.
type journal interface{ Record(wire.Event) }

// Config is what a Relay is made of. All fields are required but those that
// name a default.
type Config struct {
	Replica   wire.ReplicaID
	Directory directory
	Bus       bus
	Journal   journal
	Keys      *token.Keys    // check the agents' tokens, and renew them
	Revoked   *token.Revoked // those of them that are taken back; default: none

	AgentAuth    certificate.Auth     // default: tokens
	Certificates *certificate.Checker // says whose a certificate is; required where AgentAuth asks for any

	OwnHosts          wire.Hosts        // no agent may be called so, or declare an address there
	MaxInflightTarget int               // default 64
	MaxInflightAgent  int               // default 256
	TargetLimits      wire.TargetLimits // default: 10,000 targets, 32 labels each, 2 MiB
	LinkLimits        link.Limits
	LinkMaxAge        time.Duration // links are moved at this age, less up to 10 %; 0: never
	TokenMaxLife      time.Duration // no token is renewed past it, from its first issue; 0: no bound
	DrainTimeout      time.Duration // default 8s

	StoreUp <-chan struct{} // closed once the store has worked: not ready before; nil: it works

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// A Relay is the core of one replica.
type Relay struct {
	Config
	base     context.Context // of every link; ends after the drain
	end      context.CancelFunc
	errands  errands
	lines    *loglimit.Limiter
	recorder *recorder.Recorder
	tarpit   *tarpit.Tarpit
	refused  *prometheus.CounterVec // credentials: side, cause
	links    *link.Links
	joins    *join.Joins
	routes   *route.Router
	attempts *attempt.Attempts
	forwards forwardTable // owner's half of other replicas' scrapes
	requests sync.Pool    // room to encode them
	phase    atomic.Int32 // of starting … refusing, below
}

// The phases of a replica's life, in order.
const (
	starting int32 = iota
	serving
	draining // still answers, and asks everyone to go elsewhere
	refusing // the drain's last second
)

// New makes a Relay. It serves once Run is called.
func New(c Config) *Relay {
	if c.MaxInflightTarget == 0 {
		c.MaxInflightTarget = 64
	}
	if c.MaxInflightAgent == 0 {
		c.MaxInflightAgent = 256
	}
	c.TargetLimits.Targets = cmp.Or(c.TargetLimits.Targets, wire.MaxTargets)
	c.TargetLimits.Labels = cmp.Or(c.TargetLimits.Labels, 32)
	c.TargetLimits.Bytes = cmp.Or(c.TargetLimits.Bytes, 2<<20)
	if c.Revoked == nil {
		c.Revoked = token.NewRevoked()
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 8 * time.Second
	}
	r := &Relay{Config: c, requests: sync.Pool{New: func() any { return new([wire.MaxMessage]byte) }}}
	r.base, r.end = context.WithCancel(context.Background())
	r.lines = loglimit.New(c.Logger, promauto.With(c.Registerer).NewCounter(prometheus.CounterOpts{
		Name: "farscrape_relay_log_lines_left_out_total",
		Help: "Lines of the log that agents caused beyond their share, and that were left out.",
	}))
	r.recorder = recorder.New(c.Replica, c.Journal, c.Directory, promauto.With(c.Registerer).NewCounter(prometheus.CounterOpts{
		Name: "farscrape_relay_events_left_out_total",
		Help: "Events that agents caused beyond their share, and that were left out of their tenants' journals.",
	}))
	r.tarpit = tarpit.New(promauto.With(c.Registerer).NewCounter(prometheus.CounterOpts{
		Name: "farscrape_relay_refusals_delayed_total",
		Help: "Refusals of credentials that were answered a second later, since many came from the same address.",
	}))
	r.refused = newRefused(c.Registerer)
	r.links = link.New(r.base, link.Config{
		Replica: c.Replica, Directory: c.Directory, Keys: c.Keys, Revoked: c.Revoked, Auth: c.AgentAuth, Certificates: c.Certificates, OwnHosts: c.OwnHosts,
		MaxInflightTarget: c.MaxInflightTarget, MaxInflightAgent: c.MaxInflightAgent,
		TargetLimits: c.TargetLimits, Limits: c.LinkLimits, MaxAge: c.LinkMaxAge, TokenMaxLife: c.TokenMaxLife,
		Draining: r.Draining, Go: r.errands.run, Changed: r.changed, Record: r.recorder.Record, CountRefused: r.CountRefused, HoldRefused: r.tarpit.Hold,
		Logger: c.Logger, Lines: r.lines, Registerer: c.Registerer,
	})
	r.joins = join.New(join.Config{
		Directory: c.Directory, Keys: c.Keys, Revoked: c.Revoked, OwnHosts: c.OwnHosts, MaxLife: c.TokenMaxLife, NoTokens: c.AgentAuth == certificate.Certificate,
		Draining: r.Draining, Record: r.recorder.Record, CountRefused: r.CountRefused, HoldRefused: r.tarpit.Hold,
		Lines: r.lines, Registerer: c.Registerer,
	})
	r.routes = route.New(r.base, route.Config{
		Replica: c.Replica, Directory: c.Directory, Links: r.links, OwnHosts: c.OwnHosts,
		MaxInflightTarget: c.MaxInflightTarget, MaxInflightAgent: c.MaxInflightAgent,
		Go: r.errands.run, Registerer: c.Registerer,
	})
	r.attempts = attempt.New(attempt.Config{
		Router: r.routes, Hop: r.hop, RoundTrip: c.Bus.RoundTrip,
		Logger: c.Logger, Registerer: c.Registerer,
	})
	return r
}

// changed is what a link means for routes.
func (r *Relay) changed(k wire.AgentKey, declared []wire.Target) { r.routes.Changed(k, declared) }

// Run keeps the links alive until ctx ends, then closes those that are left and
// returns when all of their goroutines have. A drain comes before, see Drain.
func (r *Relay) Run(ctx context.Context) error {
	r.errands.run(func() { r.open(ctx) })
	r.heartbeats(ctx)
	r.phase.Store(refusing)
	r.links.Close(wire.CauseDrainTimeout)
	r.errands.end()
	parted := make(chan struct{})
	go func() {
		r.errands.active.Wait()
		r.links.Wait()
		close(parted)
	}()
	select { // agents that still listen are told why
	case <-parted:
	case <-time.After(farewell):
	}
	r.end()
	<-parted
	return nil
}

// open makes the replica ready once its store has worked. Agents may link before,
// and are scraped by whoever comes here: only the load balancer is to wait.
func (r *Relay) open(ctx context.Context) {
	if r.StoreUp != nil {
		select {
		case <-r.StoreUp:
		case <-ctx.Done():
			return
		}
	}
	r.phase.CompareAndSwap(starting, serving)
}

// farewell is how long the last words to the agents may take.
const farewell = 250 * time.Millisecond

// Ready reports whether a load balancer should send anything here: not before the
// store has worked once, not while draining, and at any other time whatever Redis
// does.
func (r *Relay) Ready() bool { return r.phase.Load() == serving }

// storeRevokes is the store's word of what is taken back.
func (r *Relay) storeRevokes(set *wire.Revocations) map[wire.RevokedSubject]int {
	r.Revoked.SetStored(set)
	return r.links.TakeBack()
}

// TakeBack closes the links whose tokens are taken back by what Config's Revoked says
// now, and counts them.
func (r *Relay) TakeBack() (closed int) {
	for _, n := range r.links.TakeBack() {
		closed += n
	}
	return closed
}

// LinksByKey counts the links held here by the ID of the key that signed their
// token.
func (r *Relay) LinksByKey() map[string]int { return r.links.ByKey() }

// Draining reports whether the replica is about to exit. It still answers.
func (r *Relay) Draining() bool { return r.phase.Load() >= draining }

// Refusing reports whether it is too late for a new scrape.
func (r *Relay) Refusing() bool { return r.phase.Load() == refusing }

// Connect takes an agent's upgrade request.
func (r *Relay) Connect(w http.ResponseWriter, req *http.Request) { r.links.Connect(w, req) }

// Join takes the request of a host that wants to become an agent.
func (r *Relay) Join(w http.ResponseWriter, req *http.Request) { r.joins.Serve(w, req) }

// newRefused makes the count of refused credentials, with all that it will ever have.
func newRefused(reg prometheus.Registerer) *prometheus.CounterVec {
	refused := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_credentials_refused_total",
		Help: "Credentials of agents, before the upgrade, of scrapers and of who joins that were not taken, and requests that lacked one, by cause.",
	}, []string{"side", "cause"})
	for _, side := range []token.Role{token.Agent, token.Scraper, token.Join} {
		for _, cause := range token.Causes() {
			refused.WithLabelValues(string(side), string(cause))
		}
	}
	return refused
}

// CountRefused counts a credential that was refused.
func (r *Relay) CountRefused(of token.Role, cause token.Cause) {
	r.refused.WithLabelValues(string(of), string(cause)).Inc()
}

// HoldRefused returns when a credential that is not good may be refused, which came
// from an address: at once, unless many have.
func (r *Relay) HoldRefused(ctx context.Context, remoteAddr string) { r.tarpit.Hold(ctx, remoteAddr) }

// Events are the calls that the store makes to this replica.
func (r *Relay) Events() wire.StoreEvents {
	return wire.StoreEvents{
		Frames:     r.busFrames,
		Gap:        r.busGap,
		Unheard:    r.busUnheard,
		Bus:        r.busChanged,
		Registered: r.links.Registered,
		Lost:       r.links.Lost,
		Revoked:    r.storeRevokes,
	}
}
