package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// Options are what an agent needs beside its environment. The zero value works.
type Options struct {
	// Logger is where the agent logs; nil: nowhere.
	Logger *slog.Logger
	// Proxy is the proxy for dials to the relay, such as
	// [http.ProxyFromEnvironment]; nil: none. Targets never have one by it.
	Proxy func(*http.Request) (*url.URL, error)
	// Hostname is the host's name, for an agent that is given none; nil: ask
	// the operating system.
	Hostname func() (string, error)

	// Web is what the agent's own listener speaks; nil: plain HTTP, to everybody.
	Web Web

	// What tests put in the network's place.
	dialRelay, dialTarget dialFunc
}

// A Web is what a listener speaks, and to whom, as FARSCRAPE_WEB_CONFIG_FILE has it.
type Web interface {
	prometheus.Collector
	Listener(net.Listener) net.Listener
	Handler(http.Handler) http.Handler
	Run(context.Context) // takes changes of the file until ctx ends
}

// An Agent keeps links to replicas of a relay and answers their scrapes.
type Agent struct {
	config     Config
	name       string
	instance   wire.InstanceID
	version    string
	connectURL *url.URL
	labels     map[string]string
	log        *slog.Logger
	registry   *prometheus.Registry
	metrics    *metrics
	own        *target
	proxy      func(*http.Request) (*url.URL, error)
	web        Web // nil: plain HTTP
	dialRelay  dialFunc
	dialTarget dialFunc

	epoch      atomic.Uint64 // the last one a directory gave; 0: none yet
	catalog    catalog
	notices    notices
	credential credential
	limiter    *limiter
	connector  *connector
	workers    *workers

	messages sync.Pool // of *[wire.MaxMessage]byte, to read
	writing  sync.Pool // of *writeBuffers
	pieces   sync.Pool // of *[dataSize]byte
}

// New makes an agent. Its error says what is wrong with the configuration, in
// one line a fault, and holds no secret.
func New(c Config, o Options) (*Agent, error) {
	a := &Agent{
		config: c, version: settings.Version(), instance: wire.NewID[wire.InstanceID](),
		catalog:  catalog{due: make(chan struct{}, 1)},
		registry: prometheus.NewRegistry(), limiter: newLimiter(), workers: newWorkers(), proxy: o.Proxy, web: o.Web, log: o.Logger,
		dialRelay: o.dialRelay, dialTarget: o.dialTarget,
		messages: sync.Pool{New: func() any { return new([wire.MaxMessage]byte) }},
		writing:  sync.Pool{New: func() any { return new(writeBuffers) }},
		pieces:   sync.Pool{New: func() any { return new([dataSize]byte) }},
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.dialRelay == nil {
		a.dialRelay = relayDialer().DialContext
	}
	if a.dialTarget == nil {
		a.dialTarget = new(net.Dialer).DialContext
	}
	if o.Hostname == nil {
		o.Hostname = hostFQDN
	}
	a.connector = newConnector(a)
	a.metrics = newMetrics(a.registry,
		func() float64 { return float64(a.connector.have()) },
		func() float64 { return float64(a.connector.want()) })
	if a.web != nil {
		a.registry.MustRegister(a.web)
	}
	if err := a.configure(o.Hostname); err != nil {
		return nil, err
	}
	a.log = a.log.With("agent", a.name, "instance", a.instance)
	return a, nil
}

// configure checks all of the configuration, and takes what does not change.
func (a *Agent) configure(hostname func() (string, error)) error {
	var faults []error
	check := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	var err error
	a.connectURL, err = a.config.connectURL()
	check(err)
	_, noTLS := a.relayTLS()
	check(noTLS)
	token, err := a.config.token()
	check(err)
	if err == nil && (token != "" || noTLS == nil) {
		a.name, err = a.config.agentName(token, hostname)
		check(err)
		a.credential.init(&a.config, a.name, a.log)
	}
	_, err = a.config.headers()
	check(err)
	if a.config.Links < 1 || a.config.Links > maxLinks {
		check(fmt.Errorf("FARSCRAPE_LINKS=%d: must be 1 to %d", a.config.Links, maxLinks))
	}
	a.labels, err = parseLabels(a.config.Labels)
	check(err)
	if err == nil {
		check(a.addLabels(token))
	}
	a.own = ownTarget(promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}), a.labels)
	check(a.load())
	return errors.Join(faults...)
}

// addLabels puts the token's labels beside the agent's own, which win.
func (a *Agent) addLabels(token string) error {
	c, _ := readClaims(token)
	labels, err := wire.ParseLabels(c.Labels)
	if err != nil {
		return fmt.Errorf("the labels in %s's token: %w", a.config.tokenSetting(), err)
	}
	for name, value := range labels {
		if _, own := a.labels[name]; !own {
			a.labels[name] = value
		}
	}
	return nil
}

// maxLinks bounds FARSCRAPE_LINKS: each is one more place to be reached at, and
// two lose nothing with one.
const maxLinks = 16

// load reads the declarations and makes them the agent's targets.
func (a *Agent) load() error {
	declared, err := a.config.declarations()
	if err != nil {
		return err
	}
	old := a.catalog.get()
	set, err := newTargetSet(declared, a.labels, a.own, old, a.dialTarget)
	if err != nil {
		return fmt.Errorf("%s: %w", a.config.targetsSetting(), err)
	}
	announced, err := announcementOf(set)
	if err != nil {
		return fmt.Errorf("%s: %w", a.config.targetsSetting(), err)
	}
	a.catalog.replace(set)
	if old != nil {
		old.closeIdle(set)
		a.metrics.forget(old, set)
	}
	a.catalog.announce(announced)
	a.metrics.reloadOK.Set(1)
	a.metrics.reloadTime.Set(float64(time.Now().UnixNano()) / 1e9)
	return nil
}

// reload takes the target list as it is now; of a bad one it keeps nothing but
// the memory.
func (a *Agent) reload() {
	if err := a.load(); err != nil {
		a.metrics.reloadOK.Set(0)
		a.log.Error("the target list is not good: the last good one stays", "err", err)
		return
	}
	a.log.Info("target list read", "targets", len(a.catalog.get().declared))
	a.warnOfNoTargets()
}

// warnOfNoTargets says that there is nothing to scrape but the agent's own metrics:
// seldom what somebody wants.
func (a *Agent) warnOfNoTargets() {
	if len(a.catalog.get().declared) > 1 {
		return
	}
	mend := "set FARSCRAPE_TARGETS=name=http://host:port/metrics, or FARSCRAPE_TARGETS_FILE"
	if a.config.TargetsFile != "" {
		mend = "declare some in FARSCRAPE_TARGETS_FILE, " + a.config.TargetsFile + ", or FARSCRAPE_TARGETS"
	}
	a.log.Warn("no targets are declared: only this agent's own metrics can be scraped", "mend", mend)
}

// Run links up and serves scrapes until ctx ends, then finishes those in flight
// and returns nil. An error means that the agent could not start.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if a.config.Listen != "" {
		listener, err := settings.Listen("LISTEN", a.config.Listen)
		if err != nil {
			return err
		}
		a.log.Info("listening", "address", listener.Addr())
		if a.web != nil {
			listener = a.web.Listener(listener)
			group.Go(func() error { a.web.Run(ctx); return nil })
		}
		group.Go(func() error { return a.listen(ctx, listener) })
	}
	if a.config.TargetsFile != "" {
		group.Go(func() error { settings.Watch(ctx, a.log, a.config.TargetsFile, a.reload); return nil })
	}
	group.Go(func() error { a.catalog.run(ctx); return nil })
	group.Go(func() error {
		a.log.Info("agent starts", "version", a.version, "relay", a.connectURL.Host, "targets", len(a.catalog.get().declared))
		a.warnOfNoTargets()
		a.connector.run(ctx)
		a.workers.close()
		a.catalog.get().closeIdle(nil)
		a.log.Info("agent stopped")
		return nil
	})
	return group.Wait()
}
