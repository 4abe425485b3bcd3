package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// hostile is a target with one path for each way to go wrong.
func hostile(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
	})
	broken := func(promise, sent int, chunked bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			if chunked {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", sent, strings.Repeat("x", sent))
			} else {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", promise, strings.Repeat("x", sent))
			}
		}
	}
	mux.HandleFunc("/short", broken(1000, 10, false))
	mux.HandleFunc("/cut", broken(0, 10, true))
	mux.HandleFunc("/cut-late", broken(0, 1<<20, true))
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, zeros{}, 3<<20) })
	mux.HandleFunc("/large-told", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(3<<20))
		_, _ = io.CopyN(w, zeros{}, 3<<20)
	})
	mux.HandleFunc("/garbage", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		fmt.Fprint(conn, "this is no HTTP\r\n\r\n")
		conn.Close()
	})
	target := httptest.NewServer(mux)
	t.Cleanup(target.Close)
	return target
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Every failure has the status and the reason of the table, before Prometheus
// gives up, and none is a clean 200.
func TestFailuresSayWhy(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		target := hostile(t)
		refused := rig.FreePort()
		paths := []string{"ok", "slow", "redirect", "short", "cut", "cut-late", "large", "large-told", "garbage"}
		targets := "refused=http://" + refused + "/metrics,dns=http://no-such-host.invalid/metrics,tls=https://" + strings.TrimPrefix(target.URL, "http://") + "/ok"
		for _, p := range paths {
			targets += "," + p + "=" + target.URL + "/" + p
		}
		agent := s.addAgent("a", "FARSCRAPE_TARGETS="+targets)
		nginx := startNginx(t, s.edge().Edge)
		for _, c := range []struct {
			path   string
			status int // 0: an aborted 200 is as good, once a header is out
			reason string
		}{
			{"a/ok", 200, ""},
			{"nobody/ok", 404, "agent_unknown"},
			{"a/nothing", 403, "target_not_declared"},
			{"a/ok/more", 403, "target_not_declared"},
			{"a/..%2f..%2fok", 400, "bad_request"},
			{"a/refused", 502, "target_refused"},
			{"a/dns", 502, "target_dns"},
			{"a/tls", 502, "target_tls"},
			{"a/redirect", 502, "target_redirect"},
			{"a/garbage", 502, "target_bad_answer"},
			{"a/short", 502, "target_bad_answer"},
			{"a/cut", 502, "target_bad_answer"},
			{"a/cut-late", 0, "target_bad_answer"},
			{"a/slow", 504, "deadline"},
			{"a/large", 0, "body_too_large"},
			{"a/large-told", 502, "body_too_large"},
		} {
			for front, addr := range map[string]string{"directly": s.edge().Edge, "nginx": nginx} {
				t.Run(c.path+" "+front, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
					defer cancel()
					req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/scrape/"+c.path, nil)
					req.Header.Set("Authorization", "Bearer "+s.scraper)
					req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "2")
					began := time.Now()
					got := do(t, req, plain())
					took := time.Since(began)
					switch {
					case c.status == 0 && got.StatusCode == 200 && got.err == nil:
						t.Errorf("a clean 200 of %d bytes", len(got.body))
					case c.status == 0 && got.StatusCode == 200:
					case c.status != 0 && got.StatusCode != c.status, got.reason() != c.reason:
						t.Errorf("%d %s %.200s, want %d %s", got.StatusCode, got.reason(), got.body, c.status, c.reason)
					}
					if c.reason == "deadline" {
						figure(t, "a slow target is a %d after %s of 2 s (%s)", got.StatusCode, took.Round(time.Millisecond), front)
					}
					if c.reason == "agent_unknown" {
						figure(t, "an unknown agent is a %d after %s (%s)", got.StatusCode, took.Round(100*time.Microsecond), front)
					}
				})
			}
		}
		agent.Stop()
		eventually(t, "the agent is offline", func() error {
			if got := s.scrape(s.edge(), "a/ok"); got.StatusCode != 503 || got.reason() != "agent_offline" {
				return fmt.Errorf("%d %s", got.StatusCode, got.body)
			}
			return nil
		})
	}, "FARSCRAPE_MAX_BODY=2MiB")
}

// One scrape too many waits for half its time and is then told so.
func TestTooManyScrapes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		target := hostile(t)
		s.addAgent("a", "FARSCRAPE_TARGETS=slow="+target.URL+"/slow,ok="+target.URL+"/ok")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for range 2 {
			go func() {
				req, _ := http.NewRequestWithContext(ctx, "GET", s.edge().URL("/scrape/a/slow"), nil)
				req.Header.Set("Authorization", "Bearer "+s.scraper)
				req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "60")
				if resp, err := plain().Do(req); err == nil {
					resp.Body.Close()
				}
			}()
		}
		eventually(t, "429", func() error {
			got := s.scrape(s.edge(), "a/slow", "X-Prometheus-Scrape-Timeout-Seconds", "0.5")
			if got.StatusCode != 429 || got.reason() != "too_many_scrapes" {
				return fmt.Errorf("%d %s", got.StatusCode, got.body)
			}
			return nil
		})
		if got := s.scrape(s.edge(), "a/ok"); got.StatusCode != 200 {
			t.Errorf("another target: %d %s", got.StatusCode, got.body)
		}
	}, "FARSCRAPE_MAX_INFLIGHT_TARGET=2")
}

// What Prometheus never sends and others do.
func TestTimeoutHeaders(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		s.addAgent("a", "FARSCRAPE_TARGETS=ok="+hostile(t).URL+"/ok")
		for _, values := range [][]string{{}, {"NaN"}, {"Inf"}, {"-Inf"}, {"-1"}, {"0"}, {"1e300"}, {"0x1p4"}, {""}, {"ten"}, {"5", "5"}, {"5", "NaN"}, {strings.Repeat("9", 400)}} {
			var header []string
			for _, v := range values {
				header = append(header, "X-Prometheus-Scrape-Timeout-Seconds", v)
			}
			got := s.scrape(s.edge(), "a/ok", header...)
			if got.StatusCode != 200 && got.StatusCode != 400 {
				t.Errorf("%q: %d %s", values, got.StatusCode, got.body)
			}
		}
	})
}

// Agents that come and go leave nothing behind, once they are no longer to be
// listed.
func TestTenThousandAgentsComeAndGo(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand dials take a while: run without -short")
	}
	onBoth(t, func(t *testing.T, s *stack) {
		const dials, at = 10_000, 32
		token := s.mint("-agent", "*")
		r := s.owner()
		metric := func(name string) int {
			v, found := rig.LookupMetric(r.Ops, name)
			if !found {
				t.Fatalf("no metric %s", name)
			}
			return int(v)
		}
		settle := func() (goroutines, fds, keys int) {
			eventually(t, "the links are gone", func() error {
				if n := metric("farscrape_relay_links"); n != 0 {
					return fmt.Errorf("%v are left", n)
				}
				return nil
			})
			if s.redis != nil {
				keys, _ = strconv.Atoi(s.redis.Do("DBSIZE"))
			}
			return metric("go_goroutines"), r.Descriptors(), keys
		}
		_, _, keys := settle()
		s.comeAndGo(t, r.Addr, token, 200, at) // warms up what is made once
		goroutines, fds, _ := settle()
		began := time.Now()
		s.comeAndGo(t, r.Addr, token, dials, at)
		took := time.Since(began)
		var g, f, k int
		eventually(t, "everything is back where it was", func() error {
			if g, f, k = settle(); g > goroutines+10 || f > fds+10 || k > keys+3 { // the tenant's index, its account and its journal are a key each, and expire
				return fmt.Errorf("goroutines %d, were %d; descriptors %d, were %d; keys %d, were %d", g, goroutines, f, fds, k, keys)
			}
			return nil
		})
		figure(t, "%d connects and disconnects, %.0f a second; goroutines %d → %d, descriptors %d → %d, keys %d → %d",
			dials, dials/took.Seconds(), goroutines, g, fds, f, keys, k)
	}, "FARSCRAPE_LOG_LEVEL=warn", "FARSCRAPE_SD_KEEP=3s")
}
