package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestRetryAfterIsBounded(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "x": 0, "5": 5 * time.Second, strconv.Itoa(1 << 40): maxRetryAfter, "99999999999999999999": 0,
	} {
		r := httptest.NewRecorder()
		r.Header().Set("Retry-After", in)
		if got := upgradeErrorOf(r.Result(), new(url.URL), nil).retryAfter; got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func TestARefusalIsLoggedWithItsMend(t *testing.T) {
	for _, c := range []struct {
		what   string
		answer func(http.ResponseWriter)
		want   []string
	}{
		{"a wrong token", refusing("unauthorized", 401), []string{"status 401", "unauthorized", "not now", "FARSCRAPE_TOKEN"}},
		{"a name not allowed", refusing("forbidden", 403), []string{"status 403", "FARSCRAPE_NAME"}},
		{"a wrong prefix", refusing("", 404), []string{"status 404", "FARSCRAPE_RELAY_URL"}},
		{"an old agent", func(w http.ResponseWriter) {
			w.Header().Set(wire.HeaderError, "bad_request")
			http.Error(w, "this relay speaks farscrape.v0 only; update the older side", http.StatusUpgradeRequired)
		}, []string{"status 426", "another version"}},
		{"a draining replica", refusing("draining", 503), []string{"status 503", "draining", "comes back"}},
		{"a login page", refusing("", 200), []string{"status 200", "load balancer"}},
		{"a proxy", refusing("", 502), []string{"status 502", "the front reaches no relay"}},
		{"a redirect", func(w http.ResponseWriter) { w.Header().Set("Location", "/login?s3cret"); w.WriteHeader(302) }, []string{"status 302"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			relay, server := relayOn(t, nil)
			relay.refuse = func(w http.ResponseWriter, _ *http.Request) bool { c.answer(w); return true }
			var out syncBuffer
			run(t, Config{RelayURL: server.URL, Token: "s3cret"}, Options{Logger: logTo(&out)})
			<-relay.dials
			<-relay.dials // the first has been logged
			for _, want := range append(c.want, "agent=edge-1", "instance=", "retry_in=") {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in %s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "s3cret") {
				t.Errorf("a secret is in %s", out.String())
			}
		})
	}
}

func TestWhatTheRelayDoesNotTakeIsLoggedWithItsLimit(t *testing.T) {
	const limit = "12345 targets; FARSCRAPE_AGENT_MAX_TARGETS is 10000"
	relay, server := relayOn(t, nil)
	var out syncBuffer
	run(t, Config{RelayURL: server.URL, Token: "x"}, Options{Logger: logTo(&out)})
	l := relay.link()
	l.conn.Close(websocket.StatusCode(wire.CauseRefused.Code()), wire.CauseRefused.CloseReason(limit))
	relay.link() // the first one's end has been logged
	if !strings.Contains(out.String(), "cause=refused") || !strings.Contains(out.String(), limit) {
		t.Errorf("%q is not in %s", limit, out.String())
	}
}

// refusing refuses with a reason, a status, a sentence and a control character.
func refusing(reason string, status int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if reason != "" {
			w.Header().Set(wire.HeaderError, reason)
		}
		w.WriteHeader(status)
		io.WriteString(w, "not now\x1b[31m\n"+strings.Repeat("x", 4096))
	}
}
