package agent

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestTheAgentsOwnMetricsAreATarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, text(""))
		l.reply(l.request("app"))
		l.reply(l.request("other"))
		r := l.reply(l.request(wire.OwnTarget, func(q *wire.Request) {
			q.Header = []wire.Field{{Name: "Accept", Value: "application/openmetrics-text; version=1.0.0"}}
		}))
		if r.reason() != wire.OK || !strings.HasPrefix(r.header("Content-Type"), "application/openmetrics-text") {
			t.Fatalf("got %+v", r)
		}
		for _, want := range []string{
			`farscrape_agent_scrapes_total{reason="ok",target="app"} 1`,
			`farscrape_agent_scrapes_total{reason="target_not_declared",target=""} 1`,
			"farscrape_agent_links 1.0", "farscrape_agent_links_wanted 1.0", "farscrape_agent_build_info{",
			"farscrape_agent_fetch_duration_seconds_count 1", "go_goroutines", "process_start_time_seconds",
			`farscrape_agent_reconnects_total{cause="timeout"} 0`, "farscrape_agent_targets_last_reload_successful 1.0",
			"farscrape_agent_targets_last_reload_success_timestamp_seconds ",
		} {
			if !strings.Contains(string(r.body), want) {
				t.Errorf("%s is not in the metrics", want)
			}
		}
	})
}
