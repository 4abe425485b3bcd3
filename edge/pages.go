package edge

import (
	"context"
	"net/http"
	"runtime/debug"

	"github.com/go-chi/chi/v5"

	"github.com/farscrape/farscrape/relay/wire"
)

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
	if e.OwnMetrics != nil && !e.NoAuth {
		r.Get("/metrics", e.serveOwnMetrics)
	}
	return r
}

// servePage serves one of our own endpoints. What it panics with is our bug.
func (e *Edge) servePage(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler {
			panic(p)
		}
		e.Logger.Error("panic in a page", "panic", p, "stack", string(debug.Stack()))
		fail(w, ownPage, wire.Errorf(wire.Internal, "a bug in the relay: its log has more"))
	}()
	ctx := chi.NewRouteContext()
	ctx.RoutePath = e.ownPath(r)
	e.pages.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, ctx)))
}

// serveOwnMetrics takes the credential from Authorization only, and answers only
// to a Host that can be no target's. A request for a target that comes through a
// careless front-end has Farscrape-Token, or a foreign Host, and would be
// answered with our metrics as if they were the target's.
func (e *Edge) serveOwnMetrics(w http.ResponseWriter, r *http.Request) {
	_, host := hostPort(r.Host)
	if r.Header.Get(wire.HeaderToken) != "" || !e.ownHost(host) {
		e.nothingHere(w, r)
		return
	}
	if _, err := e.authenticate(credentialOf(r.Header.Get("Authorization"))); err != nil {
		fail(w, ownPage, err)
		return
	}
	e.OwnMetrics.ServeHTTP(w, r)
}

// nothingHere answers what is no page of ours. It was likely meant for a target.
func (e *Edge) nothingHere(w http.ResponseWriter, r *http.Request) {
	address, _ := hostPort(r.Host)
	fail(w, ownPage, wire.Errorf(wire.AgentUnknown, "no page here, and no agent at %q", address))
}
