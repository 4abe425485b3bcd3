package webconfig

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are a Web's. Their labels are the command's.
type metrics struct {
	good      prometheus.Gauge
	goodSince prometheus.Gauge
	notAfter  prometheus.Gauge
	failed    prometheus.Counter
}

func newMetrics(c *Config) *metrics {
	opts := func(name, help string, labels prometheus.Labels) prometheus.Opts {
		return prometheus.Opts{Namespace: "farscrape", Subsystem: c.Subsystem, Name: name, Help: help, ConstLabels: maps.Clone(labels)}
	}
	return &metrics{
		good:      prometheus.NewGauge(prometheus.GaugeOpts(opts("web_config_last_reload_successful", "Whether the web configuration was good when it was last read.", c.Labels))),
		goodSince: prometheus.NewGauge(prometheus.GaugeOpts(opts("web_config_last_reload_success_timestamp_seconds", "When a good web configuration was last read.", c.Labels))),
		notAfter:  prometheus.NewGauge(prometheus.GaugeOpts(opts("certificate_not_after_timestamp_seconds", "When a certificate ends.", c.CertificateLabels))),
		failed:    prometheus.NewCounter(prometheus.CounterOpts(opts("tls_handshakes_failed_total", "TLS handshakes that peers did not bring to an end.", c.Labels))),
	}
}

// Describe and Collect make a Web a [prometheus.Collector]. It describes nothing, since
// an agent tells of other certificates under the same name.
func (w *Web) Describe(chan<- *prometheus.Desc) {}

// Collect is told of at Describe. What is of TLS is told where that is spoken.
func (w *Web) Collect(to chan<- prometheus.Metric) {
	w.metrics.good.Collect(to)
	w.metrics.goodSince.Collect(to)
	if w.TLS() {
		w.metrics.notAfter.Collect(to)
		w.metrics.failed.Collect(to)
	}
}
