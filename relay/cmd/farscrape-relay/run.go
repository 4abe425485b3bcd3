package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/farscrape/farscrape/edge"
	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
)

// A runner is what the command, and the edge, need of either store beyond what
// relay.New asks of it.
type runner interface {
	Run(ctx context.Context, events wire.StoreEvents) error
	EventsAfter(ctx context.Context, tenant string, after wire.EventID, most int) (wire.EventPage, error)
	EventsBefore(ctx context.Context, tenant string, before wire.EventID, most int) (wire.EventPage, error)
}

// run builds a replica from its environment and runs it until ctx ends and it
// has drained, or until something it cannot go on without fails.
func run(ctx context.Context, environ []string, stderr io.Writer) error {
	c, err := loadConfig(environ)
	if err != nil {
		return err
	}
	log, err := settings.Logger(stderr, c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	defer settings.TakeHangups(log)()
	store.SetDriverLogger(log)
	settings.TellUnread(log, c, environ)
	listeners, err := listen(c, log)
	if err != nil {
		return err
	}
	defer listeners.close()
	keys, tried, err := loadKeys(c, listeners.main.Addr().String())
	if err != nil {
		return err
	}
	if tried != nil {
		c.SDGrace = 0 // its key is new: no agent can have been there before
	}
	r, err := newReplica(c, keys, listeners, log)
	if err != nil {
		return err
	}
	log.Info("starting", "version", settings.Version(), "replica", r.id, "listen", listeners.String(), "keys", keys.Current().KeyIDs())
	listeners.warnOfScheme(log, c)
	if tried != nil {
		tried.invite(stderr, listeners.url())
	}
	return r.run(ctx, c, listeners)
}

// loadKeys returns the keys, and a trial if it had to make them.
func loadKeys(c *config, address string) (*token.Keys, *trial, error) {
	ring, err := readKeys(c.Key, c.KeyFile)
	switch {
	case err != nil:
		return nil, nil, err
	case ring != nil:
		return token.NewKeys(ring), nil, nil
	}
	t, err := newTrial(address)
	if err != nil {
		return nil, nil, err
	}
	return token.NewKeys(t.keys), t, nil
}

// A replica is the parts of one relay process, built and not yet running.
type replica struct {
	id      wire.ReplicaID
	log     *slog.Logger
	keys    *token.Keys
	revoked *token.Revoked
	lists   *certificate.Lists // of client certificates that CAs have taken back
	store   runner
	relay   *relay.Relay
	edge    *edge.Edge
	metrics *prometheus.Registry
	heard   chan struct{} // closed once Redis has answered; nil without
}

func newReplica(c *config, keys *token.Keys, l *listeners, log *slog.Logger) (*replica, error) {
	r := &replica{id: wire.NewID[wire.ReplicaID](), log: log, keys: keys, metrics: prometheus.NewRegistry()}
	r.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), settings.BuildInfo("relay"))
	public, err := c.publicURL()
	if err != nil {
		return nil, err
	}
	if r.revoked, err = newRevoked(c, r.metrics); err != nil {
		return nil, err
	}
	if r.lists = new(certificate.Lists); c.ClientCRLFile != "" {
		set, err := readLists(c.ClientCRLFile, l)
		if err != nil {
			return nil, err
		}
		r.lists.Set(set)
	}
	ofAgents, ofScrapers, err := c.checkers(r.lists, l)
	if err != nil {
		return nil, err
	}
	core := relay.Config{
		Replica: r.id, Keys: keys, Revoked: r.revoked, AgentAuth: c.agentAuth(), Certificates: ofAgents,
		MaxInflightTarget: c.MaxInflightTarget, MaxInflightAgent: c.MaxInflightAgent,
		TargetLimits: wire.TargetLimits{Targets: c.AgentMaxTargets, Labels: c.AgentMaxLabels, Bytes: int(c.AgentMaxBytes)},
		LinkLimits:   link.Limits{Links: c.MaxLinks, TenantBytes: int(c.TenantMaxBytes)},
		LinkMaxAge:   c.LinkMaxAge, TokenMaxLife: c.TokenMaxLife, DrainTimeout: c.DrainTimeout, OwnHosts: c.ownHosts(public),
		Logger: log, Registerer: r.metrics,
	}
	if c.hasRedis() {
		redis, err := newRedis(c, r)
		if err != nil {
			return nil, err
		}
		r.store, core.Directory, core.Bus, core.Journal = redis, redis, redis, redis
		r.heard = make(chan struct{})
		core.StoreUp = r.heard
	} else {
		memory := store.NewMemory(store.MemoryConfig{Replica: r.id, Keep: c.SDKeep, Grace: c.SDGrace, TenantLimits: c.tenantLimits(), Registerer: r.metrics})
		r.store, core.Directory, core.Bus, core.Journal = memory, memory, memory, memory
		log.Info("embedded store: exactly one replica; set FARSCRAPE_REDIS_URL to run more")
	}
	r.relay = relay.New(core)
	own := promhttp.HandlerFor(r.metrics, promhttp.HandlerOpts{Registry: r.metrics})
	if c.OpsListen != "" {
		own = nil
	}
	var agents *edge.AgentSide
	if c.EdgeListen == "" {
		agents = r.agentSide()
	}
	r.edge = edge.New(edge.Config{
		Scraper: r.relay, Journal: r.store, AgentSide: agents, Keys: keys, Revoked: r.revoked,
		Auth: c.edgeAuth(), Certificates: ofScrapers, NoAuth: c.EdgeAuth == "none",
		PublicURL: public, OwnHosts: core.OwnHosts, OriginForm: c.originForm(), TrustedProxies: c.TrustedProxies,
		DefaultTimeout: c.ScrapeTimeout, MaxTimeout: c.ScrapeMaxTimeout, MaxBody: int64(c.MaxBody),
		OwnMetrics: own, Logger: log, Registerer: r.metrics,
	})
	return r, nil
}

// agentSide is what agents ask of the replica.
func (r *replica) agentSide() *edge.AgentSide {
	return &edge.AgentSide{Connect: r.relay.Connect, Join: r.relay.Join}
}

func newRedis(c *config, r *replica) (*store.Redis, error) {
	url, err := settings.Secret(c.RedisURL, c.RedisURLFile, "REDIS_URL")
	if err != nil {
		return nil, err
	}
	conf, err := c.redisTLS()
	if err != nil {
		return nil, err
	}
	redis, err := store.NewRedis(store.RedisConfig{
		URL: string(url), URLSetting: c.redisSetting(), TLS: conf, CAFile: c.RedisCA, Prefix: c.RedisPrefix, Replica: r.id,
		Keep: c.SDKeep, Grace: cmp.Or(c.SDGrace, -1), // which is none; its 0 is a default
		Keys: func() store.Keyring { return r.keys.Current() }, SealedOnly: c.BusSeal == "always", PubSub: store.PubSub(c.RedisPubSub),
		TenantLimits: c.tenantLimits(), Logger: r.log, Registerer: r.metrics,
	})
	switch {
	case errors.Is(err, store.ErrLongPrefix):
		return nil, fmt.Errorf("FARSCRAPE_REDIS_PREFIX: %w", err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.redisSetting(), err)
	}
	return redis, nil
}

// run runs the parts until ctx ends, and then takes them down in the order that
// loses nothing: the relay drains while everything else goes on, the listeners
// close, the links close, and the store goes last, with what they released.
func (r *replica) run(ctx context.Context, c *config, l *listeners) error {
	serveCtx, stopServing := context.WithCancel(context.Background())
	linksCtx, stopLinks := context.WithCancel(context.Background())
	storeCtx, stopStore := context.WithCancel(context.Background())
	var all errgroup.Group
	start := func(what string, f func() error) {
		all.Go(func() error {
			if err := f(); err != nil && !errors.Is(err, context.Canceled) {
				stopServing() // one part's failure ends them all
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	events := r.relay.Events()
	if r.heard != nil {
		events.Bus = firstUp(events.Bus, r.heard)
	}
	start("store", func() error { return r.store.Run(storeCtx, events) })
	start("relay", func() error {
		defer stopStore()
		return r.relay.Run(linksCtx)
	})
	start("listen", func() error {
		defer stopLinks()
		return l.serve(serveCtx, r)
	})
	if c.KeyFile != "" {
		start("FARSCRAPE_KEY_FILE", func() error { r.watchKeys(serveCtx, c); return nil })
	}
	if c.RevokedFile != "" {
		start("FARSCRAPE_REVOKED_FILE", func() error { r.watchRevoked(serveCtx, c.RevokedFile); return nil })
	}
	if c.ClientCRLFile != "" {
		start("FARSCRAPE_CLIENT_CRL_FILE", func() error { r.watchLists(serveCtx, c.ClientCRLFile, l); return nil })
	}
	for _, p := range l.open() {
		if p.proxied != nil {
			r.metrics.MustRegister(p.proxied)
		}
		if p.web != nil {
			r.metrics.MustRegister(p.web)
			start(p.web.Setting, func() error { p.web.Run(serveCtx); return nil })
		}
	}
	start("drain", func() error {
		defer stopServing()
		select {
		case <-ctx.Done():
			r.relay.Drain(serveCtx)
		case <-serveCtx.Done():
		}
		return nil
	})
	return all.Wait()
}

// firstUp returns what to call instead of bus. It closes up when the bus works for
// the first time.
func firstUp(bus func(up bool), up chan<- struct{}) func(bool) {
	var once sync.Once
	return func(works bool) {
		bus(works)
		if works {
			once.Do(func() { close(up) })
		}
	}
}
