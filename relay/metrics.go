package relay

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/farscrape/farscrape/relay/wire"
)

// metrics are what the core of a replica counts. What the edge and the store
// see, they count themselves.
type metrics struct {
	lookups *prometheus.CounterVec
	retries *prometheus.CounterVec
	leftOut prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, r *Relay) *metrics {
	with := promauto.With(reg)
	m := &metrics{
		lookups: with.NewCounterVec(prometheus.CounterOpts{
			Name: "farscrape_relay_directory_lookups_total",
			Help: "Questions to the directory, by what it said: linked, offline, unknown or error.",
		}, []string{"result"}),
		retries: with.NewCounterVec(prometheus.CounterOpts{
			Name: "farscrape_relay_scrape_retries_total",
			Help: "Scrapes tried a second time, by the route and the reason that failed first.",
		}, []string{"route", "reason"}),
		leftOut: with.NewCounter(prometheus.CounterOpts{
			Name: "farscrape_relay_log_lines_left_out_total",
			Help: "Lines of the log that agents caused beyond their share, and that were left out.",
		}),
	}
	for _, result := range []string{"linked", "offline", "unknown", "error"} {
		m.lookups.WithLabelValues(result)
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_credit_lent_bytes", Help: fmt.Sprintf("Credit of bus answers beyond their first, of %d MiB.", busPool>>20),
	}, func() float64 { return r.pool.Taken() })
	return m
}

func (m *metrics) lookup(agent *wire.Agent, err error) {
	result := "linked"
	switch {
	case err != nil:
		result = "error"
	case agent == nil:
		result = "unknown"
	case !agent.Connected():
		result = "offline"
	}
	m.lookups.WithLabelValues(result).Inc()
}
