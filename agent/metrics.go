package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// metrics are what the agent counts. Label values come from fixed sets and from
// its own declarations, never from a peer.
type metrics struct {
	scrapes       *prometheus.CounterVec // target, reason
	fetchDuration prometheus.Histogram
	reconnects    *prometheus.CounterVec // cause
	dials         *prometheus.CounterVec // result
	reloadOK      prometheus.Gauge
	reloadTime    prometheus.Gauge
	refused       prometheus.Gauge
	notAfter      *prometheus.GaugeVec // certificate
}

func newMetrics(r prometheus.Registerer, links, wanted func() float64) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "farscrape", Subsystem: "agent", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "farscrape", Subsystem: "agent", Name: name, Help: help}
	}
	m := &metrics{
		scrapes: counter("scrapes_total", "Scrapes answered, by target and by how they ended. An undeclared target has no name.", "target", "reason"),
		fetchDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "farscrape", Subsystem: "agent", Name: "fetch_duration_seconds",
			Help:                        "Time from asking a target to the end of its answer.",
			Buckets:                     prometheus.ExponentialBuckets(0.005, 2.5, 9),
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}),
		reconnects: counter("reconnects_total", "Links that ended while the agent ran, by cause.", "cause"),
		dials:      counter("dials_total", "Dials to a replica: linked, held (met one that is held already), refused, failed.", "result"),
		reloadOK:   prometheus.NewGauge(gauge("targets_last_reload_successful", "Whether the target list was good when it was last read.")),
		reloadTime: prometheus.NewGauge(gauge("targets_last_reload_success_timestamp_seconds", "When a good target list was last read.")),
		refused:    prometheus.NewGauge(gauge("addresses_refused", "Addresses that the relay does not grant in proxy mode: others have them, or the token does not allow them.")),
	}
	// The web configuration tells its own under the same name.
	m.notAfter = prometheus.NewGaugeVec(gauge("certificate_not_after_timestamp_seconds", "When a certificate ends."), []string{"certificate"})
	for _, c := range wire.Causes() {
		m.reconnects.WithLabelValues(c.String())
	}
	for _, result := range []string{"linked", "held", "refused", "failed"} {
		m.dials.WithLabelValues(result)
	}
	r.MustRegister(m.scrapes, m.fetchDuration, m.reconnects, m.dials, m.reloadOK, m.reloadTime, m.refused, m.notAfter,
		prometheus.NewGaugeFunc(gauge("links", "Links that are welcomed and not draining."), links),
		prometheus.NewGaugeFunc(gauge("links_wanted", "Links there should be: FARSCRAPE_LINKS, or as many as there are replicas."), wanted),
		settings.BuildInfo("agent"), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// ends takes note of when a certificate does: client, the agent's own for the relay, or
// relay, the first to end of those by which the relay was trusted at the last dial.
func (m *metrics) ends(certificate string, at time.Time) {
	m.notAfter.WithLabelValues(certificate).Set(float64(at.Unix()))
}

// forget drops the series of targets that are declared no more.
func (m *metrics) forget(old, now *targetSet) {
	for name := range old.byName {
		if now.find(name) == nil {
			m.scrapes.DeletePartialMatch(prometheus.Labels{"target": name})
		}
	}
}

// dialResult is the label of a dial that ended with err.
func dialResult(err error) string {
	refused, ok := err.(*upgradeError)
	switch {
	case err == nil:
		return "linked"
	case !ok:
		return "failed"
	case refused.held():
		return "held"
	}
	return "refused"
}
