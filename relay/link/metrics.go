package link

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/farscrape/farscrape/relay/wire"
)

type metrics struct {
	closed    *prometheus.CounterVec
	refused   *prometheus.CounterVec
	conflicts prometheus.Counter
	renewed   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, t *Links) *metrics {
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
	}
	m.renewed = with.NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_tokens_renewed_total",
		Help: "Tokens that agents took over their links in the place of their own, by where they keep them: in memory, an agent comes back with the old one.",
	}, []string{"kept"})
	for _, kept := range []bool{true, false} {
		m.renewed.WithLabelValues(where(kept))
	}
	for _, c := range wire.Causes() {
		m.closed.WithLabelValues(c.String())
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_links", Help: "Links held here.",
	}, func() float64 { links, _ := t.Count(); return float64(links) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_agents", Help: "Agents that have a link here.",
	}, func() float64 { _, agents := t.Count(); return float64(agents) })
	reg.MustRegister(byKey{t, prometheus.NewDesc("farscrape_relay_links_by_key",
		"Links by the key that signed their token: the first 8 hex digits of its SHA-256; certificate: those that need none.", []string{"key"}, nil)})
	return m
}

// byKey counts when it is asked: a gauge kept up to date would need the
// keys that went to be forgotten.
type byKey struct {
	links *Links
	desc  *prometheus.Desc
}

func (c byKey) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c byKey) Collect(ch chan<- prometheus.Metric) {
	counts := make(map[string]int)
	for _, id := range c.links.Keys.Current().KeyIDs() {
		counts[id] = 0
	}
	maps.Copy(counts, c.links.ByKey())
	for key, n := range counts {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), key)
	}
}
