package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// listen serves the agent's own endpoints until ctx ends.
func (a *Agent) listen(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: a.endpoints(), ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, // all answers are small
		IdleTimeout:  5 * time.Minute,  // longer than most scrape intervals
	}
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		server.Close()
	})
	err := server.Serve(listener)
	if unhook() { // Serve failed by itself
		return err
	}
	<-stopped
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// endpoints are /metrics and the health checks.
func (a *Agent) endpoints() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "healthy\n")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if a.connector.have() == 0 {
			http.Error(w, "no link to any replica", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n")
	})
	if a.web != nil {
		return a.web.Handler(mux)
	}
	return mux
}
