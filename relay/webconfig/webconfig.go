// Package webconfig gives a listener of ours TLS, and its operators' pages users, by
// a file in the format of Prometheus's exporter-toolkit. The toolkit's own server
// reads the file and the certificate at each handshake, and fails it while one of
// them is half written; here they are read once, watched, and exchanged whole: a bad
// one leaves the last good one in force.
//
// What the toolkit's format says of HTTP/2 has no effect: every listener of ours
// speaks HTTP/1.1 only. WebSockets need it, and so does a Prometheus with proxy_url,
// which could not go on where h2 was agreed on.
package webconfig

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/loglimit"
	"github.com/farscrape/farscrape/relay/settings"
)

// A Config says which file is for which listener.
type Config struct {
	Setting string // the variable that names the file, for those who read the log
	File    string
	// Operators says that the listener's pages are its operators'. Elsewhere the
	// file may have no users, since Authorization is a token's or the target's, and
	// no header fields, since answers are targets'; and must have TLS.
	Operators bool
	// Certificates is a setting by which clients' certificates are credentials here:
	// the file must have them verified, now and later. Empty: there is none.
	Certificates string
	Logger       *slog.Logger

	Subsystem         string            // of the metrics: relay or agent
	Labels            prometheus.Labels // of all of them, fixed
	CertificateLabels prometheus.Labels // of the certificate's end
}

// A Web is what a listener speaks. A nil one speaks plain HTTP to everybody.
type Web struct {
	Config
	metrics *metrics
	now     atomic.Pointer[content]
	guard   guard           // of the users' passwords
	seldom  loglimit.Seldom // of lines about failed handshakes

	// Owned by New, and then by Run.
	files []string // to watch: File, and those it named when it could last be read
	told  string   // what was wrong with them when they were last read
}

// New reads the file. Its error says the variable, the file, and what to mend.
func New(c Config) (*Web, error) {
	w := &Web{Config: c, metrics: newMetrics(&c)}
	w.guard.open()
	now, err := w.read()
	if err != nil {
		return nil, err
	}
	w.take(now)
	return w, nil
}

// Run takes the files as they change, until ctx ends.
func (w *Web) Run(ctx context.Context) {
	for w != nil && ctx.Err() == nil {
		w.watch(ctx, w.files)
	}
}

// watch takes these files as they change, until others are to be watched.
func (w *Web) watch(ctx context.Context, files []string) {
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	changed := make(chan struct{}, 1) // a certificate and its key change together
	for _, file := range files {
		watching.Go(func() {
			settings.Watch(ctx, w.Logger, file, func() {
				select {
				case changed <- struct{}{}:
				default:
				}
			})
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		if w.reload(); !slices.Equal(w.files, files) {
			return
		}
	}
}

// reload takes the files as they are now, or leaves all as it is.
func (w *Web) reload() {
	next, err := w.read()
	if err == nil {
		err = w.checkChange(next)
	}
	if err != nil {
		w.metrics.good.Set(0)
		if w.told != err.Error() {
			w.told = err.Error()
			w.Logger.Error("the web configuration is not good: the last good one stays", "err", err)
		}
		return
	}
	if w.told != "" || next.sum != w.now.Load().sum {
		log := w.Logger.With("setting", w.Setting)
		if next.leaf != nil {
			log = log.With("certificate_ends", next.leaf.NotAfter)
		}
		log.Info("web configuration read")
	}
	w.told = ""
	w.take(next)
}

func (w *Web) take(c *content) {
	if now := w.now.Load(); now != nil && maps.Equal(now.cas.der, c.cas.der) {
		c.cas = now.cas // so that nobody looks whom they stood for
	}
	w.now.Store(c)
	w.metrics.good.Set(1)
	w.metrics.goodSince.Set(float64(time.Now().UnixNano()) / 1e9)
	if c.leaf != nil {
		w.metrics.notAfter.Set(float64(c.leaf.NotAfter.Unix()))
	}
}
