package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// newRevoked makes what knows of taken-back tokens. What the file says holds from the
// start; what the store says is known once Redis has answered.
func newRevoked(c *config, reg prometheus.Registerer) (*token.Revoked, error) {
	revoked := token.NewRevoked()
	if c.hasRedis() {
		revoked = token.AwaitRevoked(c.RevokedUnknown == "refuse")
	}
	if c.RevokedFile != "" {
		set, err := readRevoked(c.RevokedFile)
		if err != nil {
			return nil, err
		}
		revoked.SetListed(set)
	}
	with := promauto.With(reg)
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_revocations", Help: "Revocations that this replica knows of, lifted ones with them.",
	}, func() float64 { return float64(revoked.Now().Len()) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farscrape_relay_revocations_known",
		Help: "1 once this replica has read from Redis what is taken back; 0 where Redis was away since it started, and FARSCRAPE_REVOKED_UNKNOWN decides.",
	}, func() float64 {
		if revoked.Now().Known() {
			return 1
		}
		return 0
	})
	return revoked, nil
}

// readRevoked reads the list that FARSCRAPE_REVOKED_FILE names.
func readRevoked(file string) (*wire.Revocations, error) {
	text, err := settings.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("FARSCRAPE_REVOKED_FILE: %w: make it; it may be empty", err)
	case err != nil:
		return nil, fmt.Errorf("FARSCRAPE_REVOKED_FILE: %w", err)
	}
	set, err := token.ParseRevoked(text)
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_REVOKED_FILE: %w", err)
	}
	return set, nil
}

// watchRevoked takes a changed list without a restart, and ends the links of what it
// takes back. One that is no good leaves the last in force.
func (r *replica) watchRevoked(ctx context.Context, file string) {
	good := promauto.With(r.metrics).NewGauge(prometheus.GaugeOpts{
		Name: "farscrape_relay_revoked_file_last_reload_successful",
		Help: "1 while what FARSCRAPE_REVOKED_FILE holds is in force; 0 where it is no good, and what it held before is.",
	})
	settings.Watch(ctx, r.log, file, func() {
		set, err := readRevoked(file)
		if err != nil {
			good.Set(0)
			r.log.Error("what is taken back stays as it last was", "err", err)
			return
		}
		good.Set(1)
		r.revoked.SetListed(set)
		r.log.Info("what is taken back was read", "file", file, "revocations", set.Len(), "links_closed", r.relay.TakeBack())
	})
}
