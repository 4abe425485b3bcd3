package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/prometheus/client_golang/prometheus"
)

// A MemoryConfig says how a Memory is made.
type MemoryConfig struct {
	Replica      wire.ReplicaID        // the one replica there is
	Keep         time.Duration         // how long a departed agent stays listed
	TenantLimits TenantLimits          // what one tenant may take
	Grace        time.Duration         // how long after the start an agent that is not here may only be late; 0: none
	Registerer   prometheus.Registerer // for farscrape_relay_store_info; may be nil
}

// Memory is the embedded store, for a relay of exactly one replica. Its entries
// need no renewal: they live until they are released, since the process that
// holds the links holds the directory too. It has no bus.
type Memory struct {
	config  MemoryConfig
	certain time.Time     // when Grace is over
	lost    chan struct{} // capacity 1: there is something in displaced

	journals memoryJournals

	mu        sync.Mutex
	agents    map[wire.AgentKey]*record
	links     map[wire.LinkID]wire.AgentKey
	tenants   map[string]*tenantAccount
	displaced []loss // whose owner has yet to be told
	joins     memoryJoins
}

// A loss is an entry that the directory holds no longer, and why.
type loss struct {
	link wire.LinkID
	why  error
}

// A record is what Memory knows of one agent. All its entries are live.
type record struct {
	entries []wire.Entry // in the order they were taken
	last    wire.Entry   // the newest there was
	seen    time.Time    // when the last one was released
	cause   string       // and why
	expires time.Time    // when a departed agent is forgotten
	claims  claims
	size    size // that it is counted with: all of them
}

// NewMemory makes a Memory.
func NewMemory(config MemoryConfig) *Memory {
	storeInfo(config.Registerer, "memory")
	config.TenantLimits = config.TenantLimits.orDefault()
	return &Memory{
		config:   config,
		certain:  time.Now().Add(config.Grace),
		lost:     make(chan struct{}, 1),
		agents:   make(map[wire.AgentKey]*record),
		links:    make(map[wire.LinkID]wire.AgentKey),
		tenants:  make(map[string]*tenantAccount),
		joins:    newMemoryJoins(),
		journals: memoryJournals{metrics: newJournalMetrics(config.Registerer)},
	}
}

// Register takes the entry; see [Redis.Register]. It never waits.
func (m *Memory) Register(_ context.Context, entry wire.Entry) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	r := m.record(entry.AgentKey, now)
	if r == nil {
		r = &record{}
	}
	fresh, known := r.fresh(now), false
	entry.Epoch, known = r.epochFor(&entry, fresh)
	kept, displaced, err := r.admit(&entry)
	if err != nil {
		return 0, err
	}
	if err := m.account(r, &entry, entry.List, kept); err != nil {
		return 0, err
	}
	if !known && (entry.Shared || entry.Yielding) {
		entry.Epoch = fresh
	}
	for _, d := range displaced {
		delete(m.links, d.link)
		m.displace(d)
	}
	r.entries = append(kept, entry)
	r.claims = r.claims.declare(entry.List.All(), r.hasOther(entry.Instance), now)
	if entry.Epoch >= r.last.Epoch || r.last.Yielding && !entry.Yielding {
		r.last = entry
	}
	m.agents[entry.AgentKey] = r
	m.links[entry.Link] = entry.AgentKey
	return entry.Epoch, nil
}

// epochFor is the epoch of entry's instance, and whether the record knows it.
// If not it is the claimed one, which cannot be above a new one.
func (r *record) epochFor(entry *wire.Entry, fresh uint64) (epoch uint64, known bool) {
	for i := range r.entries {
		if sameInstance(&r.entries[i], entry) {
			return r.entries[i].Epoch, true
		}
	}
	if sameInstance(&r.last, entry) {
		return r.last.Epoch, true
	}
	if entry.Epoch == 0 {
		return fresh, false
	}
	return min(entry.Epoch, fresh), false
}

// hasOther reports whether another instance is live, too.
func (r *record) hasOther(id wire.InstanceID) bool {
	return slices.ContainsFunc(r.entries, func(l wire.Entry) bool { return l.Instance != id })
}

// fresh is the epoch of an instance that comes now.
func (r *record) fresh(now time.Time) uint64 {
	highest := r.last.Epoch
	for i := range r.entries {
		highest = max(highest, r.entries[i].Epoch)
	}
	return max(highest+1, uint64(now.UnixMilli()))
}

// admit applies the rules of conflict: it returns the entries that stand beside
// the new one and those that it displaces, or why it is refused.
func (r *record) admit(entry *wire.Entry) (kept []wire.Entry, displaced []loss, err error) {
	for i := range r.entries {
		l := &r.entries[i]
		switch {
		case l.Link == entry.Link:
		case beside(l, entry):
			kept = append(kept, *l)
		case displaces(entry, l):
			displaced = append(displaced, loss{l.Link, conflictError(l, entry)})
		case err != wire.ErrSuperseded:
			err = conflictError(entry, l)
		}
	}
	return kept, displaced, err
}

// displace has the entry's owner told. m.mu is held.
func (m *Memory) displace(d loss) {
	m.displaced = append(m.displaced, d)
	select {
	case m.lost <- struct{}{}:
	default:
	}
}

// record is the agent's record; nil if there is none or its time is over.
func (m *Memory) record(key wire.AgentKey, now time.Time) *record {
	r := m.agents[key]
	if r != nil && len(r.entries) == 0 && !now.Before(r.expires) {
		m.forget(key)
		return nil
	}
	return r
}

// Update changes the link's targets.
func (m *Memory) Update(link wire.LinkID, list *wire.TargetList) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.agents[m.links[link]]
	if r == nil {
		return
	}
	for i := range r.entries {
		if r.entries[i].Link != link {
			continue
		}
		if err := m.account(r, &r.entries[i], list, r.entries); err != nil {
			m.displace(loss{link, err})
			return
		}
		r.entries[i].List = list
		r.claims = r.claims.declare(list.All(), r.hasOther(r.entries[i].Instance), time.Now())
		if r.entries[i].Epoch >= r.last.Epoch {
			r.last = r.entries[i]
		}
	}
}

// Renewed changes when the token of the link's agent ends; zero: never.
func (m *Memory) Renewed(link wire.LinkID, expires time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.agents[m.links[link]]
	if r == nil {
		return
	}
	i := slices.IndexFunc(r.entries, func(l wire.Entry) bool { return l.Link == link })
	r.entries[i].TokenExpiry = expires
	if r.entries[i].Epoch >= r.last.Epoch {
		r.last = r.entries[i]
	}
}

// Release removes the entry; see [Redis.Release].
func (m *Memory) Release(link wire.LinkID, cause string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key, ok := m.links[link]
	if !ok {
		return
	}
	delete(m.links, link)
	r := m.agents[key]
	i := slices.IndexFunc(r.entries, func(l wire.Entry) bool { return l.Link == link })
	ephemeral := r.entries[i].Ephemeral
	r.entries = slices.Delete(r.entries, i, i+1)
	m.release(key, r)
	if len(r.entries) > 0 {
		return
	}
	if ephemeral && cause == agentStopped {
		m.forget(key)
		return
	}
	r.seen, r.cause = time.Now(), cause
	r.expires = r.seen.Add(keepFor(ephemeral, m.config.Keep))
}

// Replicas is 1.
func (m *Memory) Replicas() int { return 1 }

// AllHave is true.
func (m *Memory) AllHave(string) bool { return true }

// Alone is true.
func (m *Memory) Alone(context.Context) bool { return true }

// Links is how many links it holds.
func (m *Memory) Links() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.links)
}

// Send fails: there is no other replica.
func (m *Memory) Send(wire.ReplicaID, wire.Frame) error { return errAlone }

var errAlone = errors.New("the embedded store has one replica and no bus")

// RoundTrip is 0: there is no bus.
func (m *Memory) RoundTrip() time.Duration { return 0 }

// Run tells owners of displaced links and forgets departed agents, until ctx
// ends. It never calls events.Bus.
func (m *Memory) Run(ctx context.Context, events wire.StoreEvents) error {
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			m.sweep()
			m.journals.expire(time.Now())
		case <-m.lost:
			for _, d := range m.takeDisplaced() {
				events.Lost(d.link, d.why)
			}
		}
	}
}

func (m *Memory) takeDisplaced() []loss {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.displaced
	m.displaced = nil
	return all
}

func (m *Memory) sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for key := range m.agents {
		m.record(key, now)
	}
	m.joins.forget(now)
}
