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
	"github.com/farscrape/farscrape/relay/proxied"
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
	web     *webconfig.Web    // nil: plain HTTP
	proxied *proxied.Listener // nil: connections are their peers'
}

// listen opens the ports before anything else is built, so that an address in
// use is the first thing to be told.
func listen(c *config, log *slog.Logger) (*listeners, error) {
	l := new(listeners)
	for _, p := range []struct {
		prefix, address, file, label, certificates string
		to                                         **port
	}{
		{"", c.Listen, c.WebConfigFile, "main", c.mainCertificates(), &l.main},
		{"EDGE_", c.EdgeListen, c.EdgeWebConfigFile, "edge", c.edgeCertificates(), &l.edge},
		{"OPS_", c.OpsListen, c.OpsWebConfigFile, "ops", "", &l.ops},
	} {
		if p.address == "" {
			continue
		}
		opened, err := settings.Listen(p.prefix+"LISTEN", p.address)
		if err == nil {
			*p.to = newPort(c, opened, p.label, log)
			(*p.to).web, err = newWeb(p.prefix, p.file, p.label, p.certificates, log)
		}
		if err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// newPort is an open port. Operators come by no balancer.
func newPort(c *config, l net.Listener, listener string, log *slog.Logger) *port {
	if !c.ProxyProtocol || listener == "ops" {
		return &port{Listener: l}
	}
	from := proxied.Listen(l, proxied.Config{Trusted: c.TrustedProxies, Labels: prometheus.Labels{"listener": listener}, Logger: log})
	return &port{Listener: from, proxied: from}
}

// newWeb is what a port speaks by that file; nil, if there is none.
func newWeb(prefix, file, listener, certificates string, log *slog.Logger) (*webconfig.Web, error) {
	if file == "" {
		return nil, nil
	}
	label := prometheus.Labels{"listener": listener}
	return webconfig.New(webconfig.Config{
		Setting: settings.Prefix + prefix + "WEB_CONFIG_FILE", File: file, Operators: listener == "ops", Certificates: certificates, Logger: log,
		Subsystem: "relay", Labels: label, CertificateLabels: label,
	})
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

// warnOfScheme says that discovery would send Prometheus to a port by plain HTTP that
// speaks TLS; a front that speaks it to us alone is seldom.
func (l *listeners) warnOfScheme(log *slog.Logger, c *config) {
	to := l.main
	if l.edge != nil {
		to = l.edge
	}
	if to.web.TLS() && strings.HasPrefix(c.PublicURL, "http:") {
		log.Warn("discovery sends Prometheus to FARSCRAPE_PUBLIC_URL by plain HTTP, and its port here speaks TLS", "mend", "write https:// there, unless a front takes plain HTTP")
	}
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
		servers[l.main] = edge.Server(r.edge.Agents(r.agentSide()))
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
