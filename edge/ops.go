package edge

import (
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/go-chi/chi/v5"

	"github.com/farscrape/farscrape/relay/wire"
)

// Ops serves what operators ask of the replica on a listener of its own, to
// anyone who reaches it: metrics, profiles and health.
func (e *Edge) Ops(metrics http.Handler) http.Handler {
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, ownPage, wire.Errorf(wire.AgentUnknown, "no page here: this port has /metrics, /-/healthy, /-/ready and /debug/pprof/"))
	})
	r.Handle("/metrics", metrics)
	r.HandleFunc("/debug/pprof/*", pprof.Index)
	r.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	r.HandleFunc("/debug/pprof/profile", pprof.Profile)
	r.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	r.HandleFunc("/debug/pprof/trace", pprof.Trace)
	r.HandleFunc("/-/healthy", e.Healthy)
	r.HandleFunc("/-/ready", e.Ready)
	return r
}

// Healthy answers 200 as long as the process serves at all. The texts here are
// no exposition format: a scrape that ends up with one of them fails.
func (e *Edge) Healthy(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "healthy")
}

// Ready answers 200, or 503 while the replica starts or drains.
func (e *Edge) Ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case e.Scraper.Ready():
		plain(w, http.StatusOK, "ready")
	case e.Scraper.Draining():
		fail(w, ownPage, wire.Errorf(wire.Draining, "this replica is about to exit"))
	default:
		plain(w, http.StatusServiceUnavailable, "starting: Redis, or the bus over it, has not answered yet; the log says why")
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
