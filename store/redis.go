package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/prometheus/client_golang/prometheus"
)

// A RedisConfig says how a Redis is made.
type RedisConfig struct {
	URL          string                // in one of URLForms
	URLSetting   string                // what a person sets it by; empty: FARSCRAPE_REDIS_URL
	TLS          *tls.Config           // for rediss://; nil: the system's CAs
	CAFile       string                // what TLS has its CAs from, to be told; empty: the system
	Prefix       string                // of keys and channels
	Replica      wire.ReplicaID        // this one
	Keep         time.Duration         // how long a departed agent stays listed
	TenantLimits TenantLimits          // what one tenant may take
	Grace        time.Duration         // how long an emptied directory is uncertain; 0: the constant Grace, below 0: not at all
	Keys         func() Keyring        // the relay's, now; nil: what it sends is not sealed
	PubSub       PubSub                // which of Redis's the bus goes by
	SealedOnly   bool                  // nothing unsealed is believed, not even while a replica is alive that cannot seal
	Logger       *slog.Logger          // nil: none
	Registerer   prometheus.Registerer // nil: no metrics
}

// Redis is the store of a relay with many replicas. Where Redis is away, links
// go on and their entries are remembered; when it is back everything heals.
type Redis struct {
	config     RedisConfig
	timing     timing
	log        *slog.Logger
	clients    *clients
	address    string // Redis's, as the URL has it
	overTLS    bool
	keys       keys
	scripts    *scripts
	metrics    *metrics
	lease      ownLease
	standing   standing
	entries    entries
	nudges     nudges
	health     health
	roster     roster
	revoked    revocations
	listings   listings
	lists      *targetLists
	stillNamed stillNamed
	flawLog    flawLog
	writes     writes
	crowded    chan string // tenants that are full
	sender     sender
	inbox      inbox
	journal    journal
}

// timing are the periods, which tests shorten.
type timing struct {
	// lease is how long a replica's lease lasts without being renewed.
	lease, grace time.Duration
	// audit is how often each link is looked for in its agent's record; renew while
	// there are replicas of an earlier version. Records last so much longer than stay.
	audit, renew, stay time.Duration
	// look is how often the generation is looked at: an emptied Redis must be
	// rewritten within a second.
	look time.Duration
	// revoked is how often it is looked at what is taken back.
	revoked time.Duration
	// rejoin is how long after Redis came back, or was replaced, other replicas
	// may need to notice and to rewrite their entries.
	rejoin time.Duration
	// probe is how often a probe is sent, and probeTimeout how long it may
	// take: together less than the 5 s in which a dead bus must be noticed.
	probe, probeTimeout time.Duration
	// refresh is how often listings are fetched that were asked for within
	// asked, so as to have them when Redis is emptied.
	refresh, asked time.Duration
	// listed is how old a listing may be that is answered with as it is, settle how
	// long a change may be noted before it can be read: on a Cluster an agent's record
	// and its place in the index lie on different nodes. whole is how often a listing
	// is read whole all the same: what was not noted as a change must come out, too.
	listed, settle, whole time.Duration
	// standstill is for how long leases stand that nobody could count.
	standstill time.Duration
	// registering is how long an agent may be counted before it is listed.
	registering time.Duration
	// forget is how long the place in a stream is remembered without use.
	forget time.Duration
	// stale is over how long nothing in place must have come of a replica that
	// does not seal for it to be believed anew: what is truly late is all there
	// within a round's time-out.
	stale time.Duration
	// retire is how long seals of a key count that was taken out: so long others
	// may not know yet that it was.
	retire time.Duration
	// takeBack is for how long after the last replica was seen that finds target lists
	// only in their entries they stand there: so long an update can be taken back with
	// nothing lost.
	takeBack time.Duration
	// relist is how soon after it was told of a link's list the directory is told of the
	// next, and unnamed how long a list stays there that nobody names any more: superseded
	// ones take no more than so many times what the lists take that agents have.
	relist, unnamed time.Duration
	// keepList is how long a target list is kept that no record has had since.
	keepList time.Duration
	// flush bounds what Run does after its ctx has ended.
	flush time.Duration
}

// maxPrefix bounds the prefix, in bytes: the name of a channel must be no longer
// than what go-redis reads itself.
const maxPrefix = 1 << 10

var errNoReplica = errors.New("store: Replica is not an ID")

// NewRedis makes a Redis. It fails on a bad configuration, never because Redis
// does not answer.
func NewRedis(config RedisConfig) (*Redis, error) {
	if !wire.ValidID(string(config.Replica)) {
		return nil, errNoReplica
	}
	if len(config.Prefix) > maxPrefix {
		return nil, ErrLongPrefix
	}
	clients, err := newClients(config.URL, config.TLS)
	if err != nil {
		return nil, err
	}
	tls, address := overTLS(config.URL), addressOf(config.URL)
	config.URL = "" // it may hold a password
	config.URLSetting = cmp.Or(config.URLSetting, "FARSCRAPE_REDIS_URL")
	if config.Grace == 0 {
		config.Grace = Grace
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.TenantLimits = config.TenantLimits.orDefault()
	s := &Redis{
		config:  config,
		log:     config.Logger,
		clients: clients,
		address: address,
		overTLS: tls,
		keys:    keys{prefix: config.Prefix},
		scripts: loadScripts(),
		metrics: newMetrics(config.Registerer),
		lists:   newTargetLists(maxTargetLists),
		crowded: make(chan string, 16),
		timing: timing{
			lease: Lease, grace: config.Grace,
			audit: Audit, renew: Renew, stay: 3 * Audit,
			look: 500 * time.Millisecond, revoked: time.Second, rejoin: 3 * time.Second,
			probe: 1500 * time.Millisecond, probeTimeout: 2500 * time.Millisecond,
			refresh: 30 * time.Second, asked: 15 * time.Minute,
			listed: 200 * time.Millisecond, settle: 3 * time.Second, whole: 30 * time.Minute,
			standstill: maxStandstill, registering: 2 * commandTimeout,
			forget: 10 * time.Minute, stale: 2 * time.Second, retire: 5 * time.Second,
			takeBack: time.Hour, relist: time.Second, unnamed: 2 * time.Second, keepList: 15 * time.Second, flush: time.Second,
		},
	}
	if clients.cluster == nil {
		s.timing.settle = 500 * time.Millisecond // one server does what one pipeline says in its order
	}
	s.lease.id = newLease()
	s.nudges.of = make(map[wire.ReplicaID][]wire.LinkID)
	s.standing.init()
	s.entries.init()
	s.health.init(clients.cluster != nil)
	s.roster.init()
	s.revoked.init()
	s.listings.init()
	s.sender.init()
	s.sender.sealer.self = config.Replica
	s.inbox.init()
	s.journal.init(config.Registerer)
	return s, nil
}

// keys names keys and channels. The braces make an agent's key of one slot, and put all
// of a tenant's lists into one, and all that is known of who has joined.
type keys struct{ prefix string }

func (k keys) agent(key wire.AgentKey) string {
	return k.prefix + "agent:{" + key.String() + "}"
}

func (k keys) index(tenant string) string  { return k.prefix + "index:" + tenant }
func (k keys) usage(tenant string) string  { return k.prefix + "usage:" + tenant }
func (k keys) events(tenant string) string { return k.prefix + "events:" + tenant }
func (k keys) list(l listName) string {
	return k.prefix + "list:{" + l.tenant + "}:" + l.hash.String()
}
func (k keys) listNames(l listName) string      { return k.list(l) + ":names" }
func (k keys) replicas() string                 { return k.prefix + "replicas" }
func (k keys) about() string                    { return k.prefix + "replicas:about" }
func (k keys) revoked() string                  { return k.prefix + "revoked" }
func (k keys) order(id string) string           { return k.prefix + "revoked:order:" + id }
func (k keys) joinsBorn() string                { return k.prefix + "{join}:born" }
func (k keys) joinedNames(tenant string) string { return k.prefix + "{join}:names:" + tenant }
func (k keys) joinTokens() string               { return k.prefix + "{join}:tokens" }
func (k keys) joinUses(tokenID string) string   { return k.prefix + "{join}:uses:" + tokenID }
func (k keys) nudges(r wire.ReplicaID) string   { return k.prefix + "nudges:" + string(r) }
func (k keys) generation(n string) string       { return k.prefix + "generation:" + n }
func (k keys) inbox(r wire.ReplicaID) string {
	return k.prefix + "inbox:" + string(r)
}

// Run keeps the entries, watches Redis and runs the bus until ctx ends; then it
// sends what is queued, within a second, and closes the connections. It is
// called once. Links that were not released end with this replica's lease.
func (s *Redis) Run(ctx context.Context, events wire.StoreEvents) error {
	var all sync.WaitGroup
	all.Go(func() { s.runEntries(ctx, events) })
	all.Go(func() { s.runHealth(ctx, events) })
	all.Go(func() { s.runListings(ctx) })
	all.Go(func() { s.runSender(ctx, events) })
	all.Go(func() { s.runInbox(ctx, events) })
	all.Go(func() { s.runJournal(ctx) })
	all.Wait()
	s.removeSelf()
	s.clients.close()
	return nil
}
