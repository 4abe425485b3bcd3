package agent

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// What the relay does not grant is told once, however many replicas say it, and
// a relay that says ever something else does not fill the log.
func TestWhatTheRelayDoesNotGrantIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		var log syncBuffer
		a := startAgent(t, Options{Logger: logTo(&log), dialRelay: relay.dial}, func(c *Config) { c.Links = 1 })
		l := relay.link()
		l.welcome(1)
		l.stayAlive(1)
		notice := func(n wire.Notice) {
			l.send(wire.Frame{Type: wire.TypeNotice, Payload: wire.MarshalControl(n)})
			synctest.Wait()
		}
		said := func() int { return strings.Count(log.String(), "does not grant this address") }
		refused := wire.Notice{Refused: []wire.RefusedAddress{{Target: "db", Address: "db:9100", Why: "an\nattacker's"}}}
		time.Sleep(time.Minute)
		notice(refused)
		notice(refused)
		if said() != 1 || !strings.Contains(log.String(), "db:9100") || strings.Contains(log.String(), "an\nattacker") {
			t.Errorf("said %d times: %s", said(), log.String())
		}
		counted := func() string { return metricLines(t, a, "farscrape_agent_addresses_refused") }
		if got := counted(); got != "farscrape_agent_addresses_refused 1\n" {
			t.Errorf("counted %s", got)
		}
		for i := range 1000 {
			refused.More = i
			notice(refused)
		}
		if said() != 1 {
			t.Errorf("said %d times", said())
		}
		time.Sleep(time.Minute)
		notice(wire.Notice{})
		if got := counted(); got != "farscrape_agent_addresses_refused 0\n" || !strings.Contains(log.String(), "grants all addresses again") {
			t.Errorf("counted %s: %s", got, log.String())
		}
	})
}
