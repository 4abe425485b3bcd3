package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/settings"
)

// readLists reads the revocation lists that FARSCRAPE_CLIENT_CRL_FILE names, for clients
// that come by these listeners.
func readLists(file string, l *listeners) (*certificate.Set, error) {
	content, err := settings.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_CLIENT_CRL_FILE: %w", err)
	}
	set, err := certificate.ParseLists(content)
	for _, p := range l.open() {
		if err == nil && p.web != nil {
			err = set.CheckSigners(p.web.ClientCAs().Certificates())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_CLIENT_CRL_FILE: %s: %w", file, err)
	}
	return set, nil
}

// watchLists takes changed lists without a restart. Bad ones leave the last in force.
// The links that they end are closed by the heartbeat.
func (r *replica) watchLists(ctx context.Context, file string, l *listeners) {
	with := promauto.With(r.metrics)
	good := with.NewGauge(prometheus.GaugeOpts{
		Name: "farscrape_relay_client_crl_last_reload_successful",
		Help: "1 while what FARSCRAPE_CLIENT_CRL_FILE holds is in force; 0 where it is no good, and what it held before is.",
	})
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_client_crl_next_update_timestamp_seconds",
		Help: "When the first of the revocation lists in force should have been replaced; 0 if none says so. What they list stays refused.",
	}, func() float64 {
		next := r.lists.Now().NextUpdate()
		if next.IsZero() {
			return 0
		}
		return float64(next.Unix())
	})
	stale := time.AfterFunc(never, func() {
		r.log.Warn("a revocation list of client certificates is out of date: what it lists stays refused, and what it does not say yet nobody knows",
			"file", file, "next_update", r.lists.Now().NextUpdate(), "mend", "have the CA's next list put there in time")
	})
	defer stale.Stop()
	settings.Watch(ctx, r.log, file, func() {
		set, err := readLists(file, l)
		if err != nil {
			good.Set(0)
			r.log.Error("the revocation lists of client certificates are not good: the last good ones stay", "err", err)
			return
		}
		good.Set(1)
		r.lists.Set(set)
		r.log.Info("revocation lists of client certificates read", "file", file, "certificates", set.Len(), "next_update", set.NextUpdate())
		if next := set.NextUpdate(); !next.IsZero() {
			stale.Reset(time.Until(next))
		} else {
			stale.Stop()
		}
	})
}

// never is longer than any process runs.
const never = math.MaxInt64
