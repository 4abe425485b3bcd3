package link

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/loglimit"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A directory is told which links a replica holds.
type directory interface {
	Register(ctx context.Context, l wire.Entry) (epoch uint64, err error)
	Update(link wire.LinkID, list *wire.TargetList)
	Renewed(link wire.LinkID, expires time.Time)
	Release(link wire.LinkID, cause string)
	Replicas() int           // alive, this one with them, as last counted; at least 1
	AllHave(key string) bool // whether all that may be alive have said that they check with that key
}

// Config is what Links are made of. All fields are required.
type Config struct {
	Replica   wire.ReplicaID
	Directory directory
	Keys      *token.Keys    // check the agents' tokens, and renew them
	Revoked   *token.Revoked // those of them that are taken back

	Auth         certificate.Auth     // what agents show
	Certificates *certificate.Checker // says whose a certificate is; nil if Auth asks for none

	OwnHosts          wire.Hosts // no agent may be called so
	MaxInflightTarget int        // of which agents are told
	MaxInflightAgent  int
	TargetLimits      wire.TargetLimits
	Limits            Limits
	MaxAge            time.Duration // links are moved at this age, less up to 10 %; 0: never
	TokenMaxLife      time.Duration // no token is renewed past it, from its first issue; 0: no bound

	// What the replica does: whether it is about to exit; to run a goroutine that
	// outlives its request, unless that is too late; and what it makes of a link of
	// the agent's that has come, gone or changed its targets, which it then gives.
	Draining func() bool
	Go       func(f func()) bool
	Changed  func(k wire.AgentKey, declared []wire.Target)
	Record   func(e wire.Event, holder string) // tells the tenant's journal; holder: whose share of it
	// CountRefused counts a credential that was refused.
	CountRefused func(of token.Role, cause token.Cause)
	// HoldRefused returns when a credential may be refused that came from an address.
	HoldRefused func(ctx context.Context, remoteAddr string)

	Logger     *slog.Logger
	Lines      *loglimit.Limiter // for what agents cause
	Registerer prometheus.Registerer
}

// Links are the links of one replica.
type Links struct {
	Config
	clock    clock
	metrics  *metrics
	base     context.Context // of every link
	active   sync.WaitGroup  // readers, writers and closers
	arrivals *arrivals
	cutOnce  sync.Once // for the warning that links are cut early
	starts   pool[start]
	messages pool[buffer]
	wheel    wheel

	// As the heartbeat saw them last; only it touches them.
	keys    *token.Keyring
	revoked *token.TakenBack
	trust   certificate.Trust

	mu      sync.RWMutex // guards what follows
	byID    map[wire.LinkID]*Link
	byAgent map[wire.AgentKey][]*Link
}

// New makes the links of a replica. What still lives when ctx ends is cut.
func New(ctx context.Context, c Config) *Links {
	t := &Links{
		Config: c, base: ctx, clock: clock{time.Now()},
		arrivals: newArrivals(c.Limits.orDefault(), c.TargetLimits.Bytes),
		byID:     make(map[wire.LinkID]*Link), byAgent: make(map[wire.AgentKey][]*Link),
	}
	t.metrics = newMetrics(c.Registerer, t)
	return t
}

// Close closes all links, and tells their agents why.
func (t *Links) Close(why wire.Cause) {
	for _, l := range t.All() {
		l.close(why)
	}
}

// Wait waits for the goroutines of links, which end with the context of New.
func (t *Links) Wait() { t.active.Wait() }

// Registered is the directory's word that a link which was local only is there now.
func (t *Links) Registered(id wire.LinkID, epoch uint64) {
	if l := t.Get(id); l != nil {
		l.welcome(epoch, true)
		t.Changed(l.key, nil)
	}
}

// Lost is the directory's word that it does not hold the link: it has a younger
// instance, or takes no more of what the link declares.
func (t *Links) Lost(id wire.LinkID, why error) {
	l := t.Get(id)
	if l == nil {
		return
	}
	if errors.As(why, new(*wire.LimitError)) {
		l.log.Warn("the directory does not take the agent's targets", "err", why)
		l.recordNotTaken(why)
		l.closeSaying(wire.CauseRefused, why.Error())
		return
	}
	l.outdone(why)
}

func (t *Links) add(l *Link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[l.id] = l
	t.byAgent[l.key] = append(t.byAgent[l.key], l)
	t.wheel.add(l)
}

// remove reports whether the link was there.
func (t *Links) remove(l *Link) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[l.id] != l {
		return false
	}
	delete(t.byID, l.id)
	t.wheel.remove(l)
	of := t.byAgent[l.key]
	of = slices.DeleteFunc(slices.Clone(of), func(o *Link) bool { return o == l })
	if len(of) == 0 {
		delete(t.byAgent, l.key)
	} else {
		t.byAgent[l.key] = of
	}
	return true
}

// Get returns a link; nil if it is not here.
func (t *Links) Get(id wire.LinkID) *Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// Of returns the links of an agent. The slice is shared: it is never written.
func (t *Links) Of(k wire.AgentKey) []*Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clip(t.byAgent[k])
}

// All returns all links.
func (t *Links) All() []*Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*Link, 0, len(t.byID))
	for _, l := range t.byID {
		all = append(all, l)
	}
	return all
}

// ByKey counts the links by the ID of the key that signed the token which their agent
// would come back with, if it has told one that is in use.
func (t *Links) ByKey() map[string]int {
	counts, keys := make(map[string]int), t.Keys.Current()
	for _, l := range t.All() {
		counts[l.keyFor(keys)]++
	}
	return counts
}

// Count counts the links, and the agents that have them.
func (t *Links) Count() (links, agents int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byID), len(t.byAgent)
}
