package agent

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

func TestReadyMeansLinked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil)
		get := func(path string) int {
			w := httptest.NewRecorder()
			a.endpoints().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			return w.Code
		}
		l := relay.link()
		if get("/-/healthy") != 200 || get("/-/ready") != 503 {
			t.Errorf("before its welcome: healthy %d, ready %d", get("/-/healthy"), get("/-/ready"))
		}
		l.welcome(1)
		l.ping(1)
		synctest.Wait()
		if get("/-/ready") != 200 || get("/metrics") != 200 {
			t.Errorf("linked: ready %d, metrics %d", get("/-/ready"), get("/metrics"))
		}
		l.conn.CloseNow()
		synctest.Wait()
		if get("/-/ready") != 503 {
			t.Errorf("after the loss: ready %d", get("/-/ready"))
		}
	})
}

func metricLines(t *testing.T, a *Agent, name string) (lines string) {
	t.Helper()
	w := httptest.NewRecorder()
	a.endpoints().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, name) {
			lines += line
		}
	}
	return lines
}

// reconnects are the lines of farscrape_agent_reconnects_total.
func reconnects(t *testing.T, a *Agent) string {
	t.Helper()
	return metricLines(t, a, "farscrape_agent_reconnects_total")
}
