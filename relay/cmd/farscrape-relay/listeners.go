package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/farscrape/farscrape/edge"
	"github.com/farscrape/farscrape/relay/settings"
)

// listeners are a replica's open ports. edge and ops are nil where main serves
// what they would.
type listeners struct {
	main, edge, ops net.Listener
}

// listen opens the ports before anything else is built, so that an address in
// use is the first thing to be told.
func listen(c *config) (*listeners, error) {
	l := new(listeners)
	for _, p := range []struct {
		name, address string
		to            *net.Listener
	}{{"LISTEN", c.Listen, &l.main}, {"EDGE_LISTEN", c.EdgeListen, &l.edge}, {"OPS_LISTEN", c.OpsListen, &l.ops}} {
		if p.address == "" {
			continue
		}
		opened, err := settings.Listen(p.name, p.address)
		if err != nil {
			l.close()
			return nil, err
		}
		*p.to = opened
	}
	return l, nil
}

func (l *listeners) close() {
	for _, o := range []net.Listener{l.main, l.edge, l.ops} {
		if o != nil {
			_ = o.Close()
		}
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

// shutdownTimeout bounds the wait for answers that are still being written when
// the drain is over.
const shutdownTimeout = time.Second

// serve serves every port until ctx ends, and then lets what is being answered
// finish, for a while.
func (l *listeners) serve(ctx context.Context, r *replica) error {
	servers := map[net.Listener]*http.Server{}
	if l.edge == nil {
		servers[l.main] = edge.Server(r.edge.Handler())
	} else {
		servers[l.main] = edge.Server(r.edge.Agents(http.HandlerFunc(r.relay.Connect)))
		servers[l.edge] = edge.Server(r.edge.Handler())
	}
	if l.ops != nil {
		metrics := promhttp.HandlerFor(r.metrics, promhttp.HandlerOpts{Registry: r.metrics})
		servers[l.ops] = edge.Server(r.edge.Ops(metrics))
	}
	all, ctx := errgroup.WithContext(ctx)
	for listener, server := range servers {
		all.Go(func() error {
			if err := server.Serve(edge.Listener(listener)); !errors.Is(err, http.ErrServerClosed) {
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
