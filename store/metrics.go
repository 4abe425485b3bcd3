package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the bus's and the directory's.
type metrics struct {
	up            prometheus.Gauge
	framesIn      prometheus.Counter
	framesOut     prometheus.Counter
	bytesIn       prometheus.Counter
	bytesOut      prometheus.Counter
	gaps          prometheus.Counter
	restarts      prometheus.Counter
	malformed     prometheus.Counter
	refused       *prometheus.CounterVec
	unsealing     prometheus.Gauge
	sharded       prometheus.Gauge
	mismatched    prometheus.Gauge
	droppedDown   prometheus.Counter
	droppedFull   prometheus.Counter
	droppedUnsent prometheus.Counter
	probe         prometheus.Histogram
	badRecords    prometheus.Counter
	writable      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	storeInfo(reg, "redis")
	f := promauto.With(reg)
	frames := f.NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_bus_frames_total",
		Help: "Frames received from and sent to other replicas.",
	}, []string{"direction"})
	bytes := f.NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_bus_bytes_total",
		Help: "Bytes of frames received from and sent to other replicas.",
	}, []string{"direction"})
	dropped := f.NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_bus_dropped_bytes_total",
		Help: "Bytes of frames that were not sent: the bus was down, the queue was full, or publishing failed.",
	}, []string{"reason"})
	refused := f.NewCounterVec(prometheus.CounterOpts{
		Name: "farscrape_relay_bus_refused_total",
		Help: "Envelopes that were not believed: they had no seal and should have, were sealed with a key that is not in the key file, or their seal was wrong.",
	}, []string{"reason"})
	for _, reason := range disbelief {
		refused.WithLabelValues(reason)
	}
	return &metrics{
		writable: f.NewGauge(prometheus.GaugeOpts{
			Name: "farscrape_relay_directory_writable",
			Help: "1 while Redis takes this replica's writes; 0 where it is away or full, and leases cannot be renewed.",
		}),
		badRecords: f.NewCounter(prometheus.CounterOpts{
			Name: "farscrape_relay_directory_bad_records_total",
			Help: "Times that a record of an agent in Redis, or a part of it, was left out since it is not as replicas write it.",
		}),
		up: f.NewGauge(prometheus.GaugeOpts{
			Name: "farscrape_relay_bus_up",
			Help: "1 while the replica's probes of the bus come back.",
		}),
		framesIn:  frames.WithLabelValues("in"),
		framesOut: frames.WithLabelValues("out"),
		bytesIn:   bytes.WithLabelValues("in"),
		bytesOut:  bytes.WithLabelValues("out"),
		gaps: f.NewCounter(prometheus.CounterOpts{
			Name: "farscrape_relay_bus_gaps_total",
			Help: "Times that frames from another replica were lost on the bus.",
		}),
		restarts: f.NewCounter(prometheus.CounterOpts{
			Name: "farscrape_relay_bus_streams_restarted_total",
			Help: "Times that a replica was believed anew, since all of its envelopes were out of place: something else had written in its name.",
		}),
		refused: refused,
		sharded: f.NewGauge(prometheus.GaugeOpts{
			Name: "farscrape_relay_bus_sharded_replicas",
			Help: "Other replicas that this one sends to by sharded pub/sub; to the rest it does by plain one.",
		}),
		unsealing: f.NewGauge(prometheus.GaugeOpts{
			Name: "farscrape_relay_bus_unsealed_replicas",
			Help: "Other replicas alive that do not seal what they say on the bus: of an older version, or said to be there by somebody who may write to Redis.",
		}),
		mismatched: f.NewGauge(prometheus.GaugeOpts{
			Name: "farscrape_relay_key_mismatch_replicas",
			Help: "Other replicas alive that sign with a key which is not in this one's key file, or the reverse.",
		}),
		malformed: f.NewCounter(prometheus.CounterOpts{
			Name: "farscrape_relay_bus_malformed_total",
			Help: "Messages in the inbox that were no envelope of this version.",
		}),
		droppedDown:   dropped.WithLabelValues("bus_down"),
		droppedFull:   dropped.WithLabelValues("queue_full"),
		droppedUnsent: dropped.WithLabelValues("publish_failed"),
		probe: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "farscrape_relay_bus_probe_duration_seconds",
			Help:    "Time for a message from the replica to itself over the bus.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
}

func storeInfo(reg prometheus.Registerer, store string) {
	promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{
		Name: "farscrape_relay_store_info",
		Help: "1 for the store in use.",
	}, []string{"store"}).WithLabelValues(store).Set(1)
}
