package edge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/farscrape/farscrape/relay/wire"
)

// routeNone is the route of scrapes that failed before an answer said which it
// was.
const routeNone = "none"

type metrics struct {
	scrapes  *prometheus.CounterVec // route, reason
	duration prometheus.Histogram
	own      prometheus.Histogram
	inflight prometheus.Gauge
	omitted  *prometheus.CounterVec // cause
	unlogged prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	factory := promauto.With(r)
	m := &metrics{
		scrapes: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "farscrape_relay_scrapes_total",
			Help: "Scrapes by the way they went and the reason they ended with. Route none: failed before any answer came.",
		}, []string{"route", "reason"}),
		duration: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "farscrape_relay_scrape_duration_seconds",
			Help:    "Time from a scrape's request to the end of its answer, of those that were authenticated and made sense.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},

			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}),
		own: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "farscrape_relay_scrape_own_duration_seconds",
			Help:    "Our own share of a scrape's duration: what is left of it without the time that the agent says it had it. Of whole answers.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},

			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}),
		inflight: factory.NewGauge(prometheus.GaugeOpts{
			Name: "farscrape_relay_inflight_scrapes",
			Help: "Scrapes being answered.",
		}),
		omitted: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "farscrape_relay_discovery_omitted_total",
			Help: "Targets left out of service discovery, counted with each request for it.",
		}, []string{"cause"}),
	}
	m.unlogged = factory.NewCounter(prometheus.CounterOpts{
		Name: "farscrape_relay_failures_unlogged_total",
		Help: "Failures that were left out of the log although no other like them was in it: their agent or tenant had too many different ones within a minute.",
	})
	for _, route := range []string{routeNone, "local", "bus"} {
		for _, reason := range wire.Reasons() {
			m.scrapes.WithLabelValues(route, reason.String())
		}
	}
	for _, why := range omissions() {
		m.omitted.WithLabelValues(string(why))
	}
	return m
}

// countStreams counts the streams of events that are open.
func (m *metrics) countStreams(r prometheus.Registerer, streams func() float64) {
	promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_event_streams",
		Help: "Streams of events that are open.",
	}, streams)
}

func (m *metrics) done(route string, reason wire.Reason, asked bool, took time.Duration) {
	m.scrapes.WithLabelValues(route, reason.String()).Inc()
	if asked {
		m.duration.Observe(took.Seconds())
	}
}
