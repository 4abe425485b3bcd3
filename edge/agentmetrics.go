package edge

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/farscrape/farscrape/relay/wire"
)

// directoryDescs describe the metrics of agents. They are made once; the values
// are read off the directory with each request and kept nowhere.
type directoryDescs struct {
	connected, lastSeen, expiry, info *prometheus.Desc
	scraperExpiry                     *prometheus.Desc
}

func newDirectoryDescs() directoryDescs {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("farscrape_directory_agent_"+name, help, append([]string{"tenant", "agent"}, more...), nil)
	}
	return directoryDescs{
		connected: desc("connected", "Whether the agent has a live link to any replica."),
		lastSeen:  desc("last_seen_timestamp_seconds", "When the agent was last known to be linked."),
		expiry:    desc("token_expiry_timestamp_seconds", "When the agent's token expires, or its certificate, unless that lives for days only; absent if never."),
		info:      desc("info", "The agent's version.", "version"),
		scraperExpiry: prometheus.NewDesc("farscrape_relay_scraper_token_expiry_timestamp_seconds",
			"When the token expires that a scraper has shown to this replica within the last hour, the first of them if there are several; absent if never.",
			[]string{"tenant", "scraper"}, nil),
	}
}

// serveAgentMetrics exposes the directory, the same from any replica.
func (e *Edge) serveAgentMetrics(w http.ResponseWriter, r *http.Request, who caller) *wire.Error {
	agents, failure := e.agentsOf(r.Context(), who)
	if failure != nil {
		return failure
	}
	status, header := http.StatusOK, make(http.Header)
	return e.answerOnce(r, who, func(b *bytes.Buffer) error {
		registry := prometheus.NewRegistry()
		registry.MustRegister(directoryCollector{e.directory, agents, e.scrapers.expiries(who, time.Now())})
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(&written{b, header, &status}, r)
		return nil
	}, func(a *answer) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = w.Write(a.body) // whoever does not read it is gone
	})
}

// A written is an answer that is sent later.
type written struct {
	*bytes.Buffer
	header http.Header
	status *int
}

func (w *written) Header() http.Header    { return w.header }
func (w *written) WriteHeader(status int) { *w.status = status }

// A directoryCollector collects one listing.
type directoryCollector struct {
	directoryDescs
	agents   []wire.Agent
	scrapers map[scraperKey]time.Time // when their tokens expire
}

// Describe implements prometheus.Collector.
func (c directoryCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.connected
	ch <- c.lastSeen
	ch <- c.expiry
	ch <- c.info
	ch <- c.scraperExpiry
}

// Collect implements prometheus.Collector.
func (c directoryCollector) Collect(ch chan<- prometheus.Metric) {
	for i := range c.agents {
		a := &c.agents[i]
		entry := newest(a)
		gauge := func(desc *prometheus.Desc, value float64, more ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{a.Tenant, a.Agent}, more...)...)
		}
		connected := 0.0
		if a.Connected() {
			connected = 1
		}
		gauge(c.connected, connected)
		if seen := a.Seen(time.Now()); !seen.IsZero() {
			gauge(c.lastSeen, float64(seen.UnixMilli())/1000)
		}
		if !entry.TokenExpiry.IsZero() {
			gauge(c.expiry, float64(entry.TokenExpiry.Unix()))
		}
		gauge(c.info, 1, strings.ToValidUTF8(entry.Version, "?"))
	}
	for who, expires := range c.scrapers {
		ch <- prometheus.MustNewConstMetric(c.scraperExpiry, prometheus.GaugeValue, float64(expires.Unix()), who.tenant, who.name)
	}
}
