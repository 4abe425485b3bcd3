package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/farscrape/farscrape/edge"
	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/webconfig"
)

// listeners are a replica's open ports. edge and ops are nil where main serves
// what they would.
type listeners struct {
	main, edge, ops *port
}

// A port is an open one, with what is spoken there.
type port struct {
	net.Listener
	setting string         // the variable of its web configuration
	web     *webconfig.Web // nil: plain HTTP
}

// listen opens the ports before anything else is built, so that an address in
// use is the first thing to be told.
func listen(c *config, log *slog.Logger) (*listeners, error) {
	l := new(listeners)
	for _, p := range []struct {
		name, address, label string
		web                  string
		to                   **port
	}{
		{"LISTEN", c.Listen, "main", c.WebConfigFile, &l.main},
		{"EDGE_LISTEN", c.EdgeListen, "edge", c.EdgeWebConfigFile, &l.edge},
		{"OPS_LISTEN", c.OpsListen, "ops", c.OpsWebConfigFile, &l.ops},
	} {
		if p.address == "" {
			continue
		}
		opened, err := settings.Listen(p.name, p.address)
		if err != nil {
			l.close()
			return nil, err
		}
		*p.to = &port{Listener: opened, setting: settings.Prefix + strings.TrimSuffix(p.name, "LISTEN") + "WEB_CONFIG_FILE"}
		if p.web == "" {
			continue
		}
		label := prometheus.Labels{"listener": p.label}
		if (*p.to).web, err = webconfig.New(webconfig.Config{
			Setting: (*p.to).setting, File: p.web, Operators: *p.to == l.ops, Logger: log,
			Subsystem: "relay", Labels: label, CertificateLabels: label,
		}); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// open are the ports that there are.
func (l *listeners) open() []*port {
	return slices.DeleteFunc([]*port{l.main, l.edge, l.ops}, func(p *port) bool { return p == nil })
}

func (l *listeners) close() {
	for _, p := range l.open() {
		_ = p.Close()
	}
}

// String tells what is served where, for the log.
func (l *listeners) String() string {
	parts := []string{l.main.Addr().String()}
	if l.edge != nil {
		parts = append(parts, "edge="+l.edge.Addr().String())
	}
	if l.ops != nil {
		parts = append(parts, "ops="+l.ops.Addr().String())
	}
	return strings.Join(parts, " ")
}

// url is what reaches the main port from this machine.
func (l *listeners) url() string {
	scheme := "http"
	if l.main.web.TLS() {
		scheme = "https"
	}
	return scheme + "://" + l.main.Addr().String()
}

// shutdownTimeout bounds the wait for answers that are still being written when
// the drain is over.
const shutdownTimeout = time.Second

// serve serves every port until ctx ends, and then lets what is being answered
// finish, for a while.
func (l *listeners) serve(ctx context.Context, r *replica) error {
	servers := map[*port]*http.Server{}
	if l.edge == nil {
		servers[l.main] = edge.Server(r.edge.Handler())
	} else {
		servers[l.main] = edge.Server(r.edge.Agents(http.HandlerFunc(r.relay.Connect)))
		servers[l.edge] = edge.Server(r.edge.Handler())
	}
	if l.ops != nil {
		metrics := promhttp.HandlerFor(r.metrics, promhttp.HandlerOpts{Registry: r.metrics})
		servers[l.ops] = edge.Server(l.ops.web.Handler(r.edge.Ops(metrics)))
	}
	all, ctx := errgroup.WithContext(ctx)
	for port, server := range servers {
		all.Go(func() error {
			if err := server.Serve(edge.Listener(port.web.Listener(port.Listener))); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	for _, server := range servers {
		all.Go(func() error {
			if server.Shutdown(ending) != nil {
				return server.Close()
			}
			return nil
		})
	}
	return all.Wait()
}
