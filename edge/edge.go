// Package edge is the Prometheus-facing side of a replica: scrapes in path mode
// and in proxy mode, service discovery, the list of agents.
//
// It turns an HTTP request into a [wire.Scrape], asks its scraper for the
// [wire.Answer], and hands that on byte for byte. What it must never do is let a
// request for a target end in anything else: it decides what a request is before
// any router sees it, gives every failure one of the reasons of package wire,
// and breaks the connection where an answer breaks off.
package edge

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// A scraper finds agents and asks them. Package relay has one.
type scraper interface {
	// Scrape carries out s within ctx, whose deadline is the scrape's. An error
	// is a *wire.Error; an Answer beside it counts for its Agent, Target and
	// Route only, which may be empty.
	Scrape(ctx context.Context, s *wire.Scrape) (*wire.Answer, error)
	// ClaimToName says whether a host, in lower case, is the name of an agent of
	// the tenant, linked or departed; ClaimToAddress, what host:port is. They are
	// asked with each request whose Host is not ours, so they answer from memory
	// when they can, and ClaimToName does not wait for a directory that hangs.
	ClaimToName(ctx context.Context, tenant, host string) wire.Claim
	ClaimToAddress(ctx context.Context, tenant, address string) wire.Claim
	// Listing lists all agents of a tenant. It answers with the whole of it or
	// with an error.
	Listing(ctx context.Context, tenant string) (*wire.Listing, *wire.Error)
	// Forget takes a departed agent off the list.
	Forget(ctx context.Context, key wire.AgentKey) error
	// CountRefused counts a credential that was refused.
	CountRefused(of token.Role, cause token.Cause)
	// HoldRefused returns when a credential that is not good may be refused, which
	// came from an address: at once, unless many have. It takes no longer than ctx.
	HoldRefused(ctx context.Context, remoteAddr string)
	// Ready is false while the replica starts and while it drains.
	Ready() bool
	// Draining is true from the moment the replica is told to stop.
	Draining() bool
	// Refusing is true in the last second of the drain: a new scrape could not
	// be finished.
	Refusing() bool
}

// Config is what an Edge is made from.
type Config struct {
	Scraper scraper     // required
	Journal journal     // required
	Keys    *token.Keys // required unless NoAuth
	// Revoked are those of the scrapers' tokens that are taken back. Nil: none.
	Revoked *token.Revoked
	// Auth says what scrapers show; empty: tokens. Certificates says whose a
	// certificate is, and is required where Auth asks for any.
	Auth         certificate.Auth
	Certificates *certificate.Checker
	// NoAuth lets anybody scrape the default tenant.
	NoAuth bool
	// PublicURL is where Prometheus reaches this edge. Discovery prints it. Nil:
	// discovery takes the request's.
	PublicURL *url.URL
	// OwnHosts are this relay's names, beside PublicURL's host.
	OwnHosts wire.Hosts
	// OriginForm says what a front-end may have made of proxy mode.
	OriginForm OriginForm
	// TrustedProxies are the peers whose X-Forwarded-Host, -Proto and -For count.
	TrustedProxies []netip.Prefix
	// DefaultTimeout is a scrape's when Prometheus sends none; MaxTimeout caps
	// all. Zero: 10 s and 5 min.
	DefaultTimeout, MaxTimeout time.Duration
	MaxBody                    int64 // of an answer, in bytes; 0: 256 MiB
	// OwnMetrics serves the replica's own metrics to scrapers with a token.
	// Nil: they are not to be had here.
	OwnMetrics http.Handler
	// AgentSide is set if agents come in by this listener too.
	AgentSide  *AgentSide
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: metrics are counted, but not to be had
}

// An Edge serves one replica's scrapers.
type Edge struct {
	Config
	prefix    string // PublicURL's path, without a trailing slash
	pages     http.Handler
	metrics   *metrics
	directory directoryDescs
	quiet     *quiet
	scrapers  *scrapers
	watches   *watches // of events
	reads     *eventReads
	lists     lists     // of discovery
	room      pageRoom  // of pages
	repeats   sync.Once // was told
}

// New makes an Edge.
func New(c Config) *Edge {
	if c.DefaultTimeout <= 0 {
		c.DefaultTimeout = 10 * time.Second
	}
	if c.MaxTimeout <= 0 {
		c.MaxTimeout = 5 * time.Minute
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 256 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Revoked == nil {
		c.Revoked = token.NewRevoked()
	}
	e := &Edge{Config: c, metrics: newMetrics(c.Registerer), directory: newDirectoryDescs(), quiet: newQuiet(), scrapers: newScrapers(), watches: newWatches(), reads: newEventReads(c.Journal)}
	e.metrics.countStreams(c.Registerer, e.watches.count)
	if c.PublicURL != nil {
		e.OwnHosts = c.OwnHosts.With(c.PublicURL.Host)
		e.prefix = strings.TrimSuffix(c.PublicURL.EscapedPath(), "/")
	}
	e.pages = e.routes()
	return e
}

// Handler serves everything that a scraper may ask. It must see requests as
// they came: no mux that cleans paths may stand before it.
func (e *Edge) Handler() http.Handler { return http.HandlerFunc(e.serve) }

func (e *Edge) serve(w http.ResponseWriter, r *http.Request) {
	defer e.answerPanic(w)
	start, timeout := time.Now(), e.timeout(r.Header)
	ctx, cancel := context.WithDeadline(r.Context(), start.Add(lessMargin(timeout)))
	defer cancel()
	m, refused := e.modeOf(ctx, r)
	if m == ownPage && e.AgentSide != nil && e.AgentSide.serve(e, w, r) { // a link outlives any scrape
		return
	}
	if e.Scraper.Draining() {
		w.Header().Set("Connection", "close") // balancers lag; the next one comes elsewhere
	}
	if m == ownPage {
		e.servePage(w, r)
		return
	}
	// A scraper that stops reading must not hold this goroutine. Not every
	// ResponseWriter has a deadline; the server's does, and clears it after.
	_ = http.NewResponseController(w).SetWriteDeadline(start.Add(timeout + writeGrace))
	x := &exchange{edge: e, w: w, r: r, mode: m, refused: refused, start: start, route: routeNone}
	x.serve(ctx)
}
