package agent

import (
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestTheAgeThatLinksAreCutAtIsLearned(t *testing.T) {
	type loss struct {
		after time.Duration // since the one before
		cause wire.Cause
		age   time.Duration
	}
	const lost = wire.CauseLost
	for name, c := range map[string]struct {
		losses []loss
		want   time.Duration
	}{
		"one is an accident":           {[]loss{{0, lost, 5 * time.Minute}}, 0},
		"two are none":                 {[]loss{{0, lost, 301 * time.Second}, {time.Minute, lost, 300 * time.Second}}, 300 * time.Second},
		"two of different ages are":    {[]loss{{0, lost, 5 * time.Minute}, {time.Minute, lost, 3 * time.Minute}}, 0},
		"two at once are one":          {[]loss{{0, lost, 5 * time.Minute}, {time.Second, lost, 5 * time.Minute}}, 0},
		"a bad line cuts sooner":       {[]loss{{0, lost, 9 * time.Second}, {time.Minute, lost, 9 * time.Second}}, 0},
		"who says why cuts no link":    {[]loss{{0, wire.CauseDrained, 5 * time.Minute}, {time.Minute, wire.CauseTimeout, 5 * time.Minute}}, 0},
		"a goodbye between is nothing": {[]loss{{0, lost, 5 * time.Minute}, {time.Minute, wire.CauseDrained, time.Minute}, {time.Minute, lost, 5 * time.Minute}}, 5 * time.Minute},
	} {
		var s cutAge
		now := time.Unix(1e9, 0)
		for _, l := range c.losses {
			now = now.Add(l.after)
			s.lost(l.cause, l.age, now)
		}
		if s.known != c.want {
			t.Errorf("%s: %s, want %s", name, s.known, c.want)
		}
	}
}
