package edge

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/farscrape/farscrape/relay/wire"
)

// pageTimeout bounds what a page takes: it only reads the directory.
const pageTimeout = 10 * time.Second

// A page is one of our own endpoints, for scrapers. If it fails it has sent
// nothing yet.
type page func(w http.ResponseWriter, r *http.Request, who caller) *wire.Error

// routes are our own endpoints. The router compares escaped paths as they came
// and cleans nothing.
func (e *Edge) routes() http.Handler {
	r := chi.NewRouter()
	r.NotFound(e.nothingHere)
	r.MethodNotAllowed(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, ownPage, wire.Errorf(wire.Method, "this page does not take it"))
	})
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r.MethodFunc(method, "/-/healthy", e.Healthy)
		r.MethodFunc(method, "/-/ready", e.Ready)
	}
	r.Get("/sd", e.page(e.serveDiscovery))
	r.Get("/clients", e.page(e.serveClients))
	r.Get("/api/v1/agents", e.page(e.serveAgents))
	r.Delete("/api/v1/agents/{agent}", e.page(e.forgetAgent))
	r.Get(eventsPath, e.page(e.serveEvents))
	r.Get("/metrics/agents", e.exposition(e.serveAgentMetrics))
	if e.OwnMetrics != nil && !e.NoAuth {
		r.Get("/metrics", e.exposition(func(w http.ResponseWriter, r *http.Request, _ caller) *wire.Error {
			e.OwnMetrics.ServeHTTP(w, r)
			return nil
		}))
	}
	return r
}

// servePage serves one of our own endpoints.
func (e *Edge) servePage(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if e.ownPath(r) != eventsPath || !follows(r) { // a stream has no end
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, pageTimeout)
		defer cancel()
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * pageTimeout))
	route := chi.NewRouteContext()
	route.RoutePath = e.ownPath(r)
	e.pages.ServeHTTP(w, r.WithContext(context.WithValue(ctx, chi.RouteCtxKey, route)))
}

// page serves p to scrapers.
func (e *Edge) page(p page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, failure := e.admit(r, tokensOf(r.Header, ownPage)...)
		if failure == nil && r.ContentLength != 0 {
			failure = wire.Errorf(wire.BadRequest, "this page takes no body")
		}
		if failure == nil {
			failure = p(w, r, who)
		}
		if failure == nil {
			return
		}
		fail(w, ownPage, failure)
		route := chi.RouteContext(r.Context()).RoutePattern()
		like := quietKey{wire.AgentKey{Tenant: who.tenant}, route, failure.Reason}
		if who.tenant == "" {
			like = who.shown.refused(route, failure.Reason)
		}
		if held, show := e.dueToLog(like, time.Now()); show {
			e.Logger.LogAttrs(r.Context(), slog.LevelWarn, "page", append(who.shown.attrs(), slog.String("page", route), slog.String("tenant", who.tenant),
				slog.String("reason", failure.Reason.String()), slog.String("detail", failure.Detail), slog.Int("like_it_before", held),
				slog.String("remote_addr", e.client(r)))...)
		}
	}
}

// exposition serves p, whose text Prometheus would take for a target's, only to
// a request that can be meant for us alone. One for a target that came through
// a careless front-end has a Host that is not ours, our token in a field of
// proxy mode, or the HTTP/1.0 that nginx speaks to what is behind it.
func (e *Edge) exposition(p page) http.HandlerFunc {
	serve := e.page(p)
	return func(w http.ResponseWriter, r *http.Request) {
		_, host := hostPort(r.Host)
		if r.Header.Get(wire.HeaderToken) != "" || r.Header.Get("Proxy-Authorization") != "" || !e.ownHost(r, host) || !r.ProtoAtLeast(1, 1) {
			e.nothingHere(w, r)
			return
		}
		serve(w, r)
	}
}

// nothingHere answers what is no page of ours. It was likely meant for a target.
func (e *Edge) nothingHere(w http.ResponseWriter, r *http.Request) {
	address, host := hostPort(r.Host)
	if e.ownHost(r, host) {
		fail(w, ownPage, wire.Errorf(wire.AgentUnknown, "%s: no such path: try /sd, /scrape/AGENT/TARGET or /-/ready "+
			"(if this was for a target in proxy mode, a front-end has replaced its Host: use path mode)", quoted(r.URL.Path)))
		return
	}
	fail(w, ownPage, wire.Errorf(wire.AgentUnknown, "%s: no such path: try /sd, /scrape/AGENT/TARGET or /-/ready "+
		"(if this was for a target in proxy mode, no agent has %q; if that is this relay, set FARSCRAPE_PUBLIC_URL or FARSCRAPE_OWN_HOSTS)", quoted(r.URL.Path), address))
}

// quoted is a path as it may stand in an answer.
func quoted(path string) string {
	const most = 100 // bytes
	if len(path) > most {
		path = path[:most] + "…"
	}
	return strconv.Quote(path)
}
