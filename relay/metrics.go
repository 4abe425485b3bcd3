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
	closed    *prometheus.CounterVec
	refused   *prometheus.CounterVec
	conflicts prometheus.Counter
	lookups   *prometheus.CounterVec
	retries   *prometheus.CounterVec
	leftOut   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, r *Relay) *metrics {
	with := promauto.With(reg)
	m := &metrics{
		closed: with.NewCounterVec(prometheus.CounterOpts{
			Name: "farscrape_relay_links_closed_total",
			Help: "Links closed, by cause.",
		}, []string{"cause"}),
		refused: with.NewCounterVec(prometheus.CounterOpts{
			Name: "farscrape_relay_links_refused_total",
			Help: "Agents refused before the upgrade, by reason.",
		}, []string{"reason"}),
		conflicts: with.NewCounter(prometheus.CounterOpts{
			Name: "farscrape_relay_name_conflicts_total",
			Help: "Links closed because another process holds the agent's name.",
		}),
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
	for _, c := range wire.Causes() {
		m.closed.WithLabelValues(c.String())
	}
	for _, result := range []string{"linked", "offline", "unknown", "error"} {
		m.lookups.WithLabelValues(result)
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_links", Help: "Links held here.",
	}, func() float64 { links, _ := r.links.count(); return float64(links) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_agents", Help: "Agents that have a link here.",
	}, func() float64 { _, agents := r.links.count(); return float64(agents) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_credit_lent_bytes", Help: fmt.Sprintf("Credit of bus answers beyond their first, of %d MiB.", busPool>>20),
	}, func() float64 { return r.pool.Taken() })
	reg.MustRegister(linksByKey{r, prometheus.NewDesc("farscrape_relay_links_by_key",
		"Links by the key that signed their token: the first 8 hex digits of its SHA-256.", []string{"key"}, nil)})
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

// linksByKey counts when it is asked: a gauge kept up to date would need the
// keys that went to be forgotten.
type linksByKey struct {
	relay *Relay
	desc  *prometheus.Desc
}

func (c linksByKey) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c linksByKey) Collect(ch chan<- prometheus.Metric) {
	counts := make(map[string]int)
	for _, id := range c.relay.Keys.Current().KeyIDs() {
		counts[id] = 0
	}
	for _, l := range c.relay.links.all() {
		counts[l.claims.Key]++
	}
	for key, n := range counts {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), key)
	}
}
