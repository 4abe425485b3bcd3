// Package proxied takes connections from load balancers that say, by the PROXY
// protocol, whose connections they are: a header, of version 1 or 2, before TLS and
// before the first request. Only a balancer that is trusted is believed; a header from
// anybody else ends the connection.
package proxied

import (
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/loglimit"
)

// headerTimeout is how long a trusted peer may take for its header, or for the first
// byte of what is none: as long as any peer may for a request's.
const headerTimeout = 10 * time.Second

// A cause is why a connection was refused.
type cause string

const (
	stranger   cause = "stranger"   // a header, from a peer that is not trusted
	malformed  cause = "malformed"  // one that nobody can read, or that is too long
	unfinished cause = "unfinished" // a part of one
)

// A Config says whose headers count at a listener.
type Config struct {
	Trusted []netip.Prefix    // the balancers
	Labels  prometheus.Labels // of its metric, fixed
	Logger  *slog.Logger
}

// A Listener accepts connections whose RemoteAddr is what a trusted peer says it is.
// RemoteAddr waits for that, and Accept does not: an HTTP server asks for it first of
// all, on the connection's own goroutine. It is a [prometheus.Collector], too.
type Listener struct {
	net.Listener
	Config
	refused *prometheus.CounterVec // cause
	seldom  loglimit.Seldom        // of lines about refused ones
}

// Listen returns a Listener of l's connections.
func Listen(l net.Listener, c Config) *Listener {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name:        "farscrape_relay_proxy_headers_refused_total",
		Help:        "Connections ended for their header of the PROXY protocol, by cause.",
		ConstLabels: maps.Clone(c.Labels),
	}, []string{"cause"})
	for _, why := range []cause{stranger, malformed, unfinished} {
		refused.WithLabelValues(string(why))
	}
	return &Listener{Listener: l, Config: c, refused: refused}
}

// Accept waits for the next connection, and not for its header.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, listener: l, trusted: l.trusts(c.RemoteAddr())}, nil
}

// Describe and Collect make a Listener a [prometheus.Collector].
func (l *Listener) Describe(to chan<- *prometheus.Desc) { l.refused.Describe(to) }

// Collect is told of at Describe.
func (l *Listener) Collect(to chan<- prometheus.Metric) { l.refused.Collect(to) }

// trusts reports whether a peer is one of Trusted.
func (l *Listener) trusts(peer net.Addr) bool {
	at, err := netip.ParseAddrPort(peer.String())
	addr := at.Addr().Unmap().WithZone("")
	return err == nil && slices.ContainsFunc(l.Trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// mends say what to do about each cause.
var mends = map[cause]string{
	stranger:   "put the peer into FARSCRAPE_TRUSTED_PROXIES if it is your load balancer",
	malformed:  "have the balancer send version 1 or 2 of the protocol, once, with less than 4 KiB of TLVs",
	unfinished: "have the balancer send its header at once: HAProxy's send-proxy-v2, nginx's proxy_protocol on",
}

// refuse counts a connection that ends for its header, and says so now and then.
func (l *Listener) refuse(why cause, peer net.Addr, err error) {
	l.refused.WithLabelValues(string(why)).Inc()
	if show, more := l.seldom.Due(time.Now()); show {
		l.Logger.Warn("PROXY protocol: a connection is refused for its header", "listen", l.Addr().String(), "peer", peer.String(),
			"cause", string(why), "err", err, "mend", mends[why], "refused_since_last_said", more)
	}
}
