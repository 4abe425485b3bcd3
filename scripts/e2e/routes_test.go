package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// exposition is a target that answers in every format of Prometheus, always
// with the same bytes for the same request, and tells what it was asked.
func exposition(t *testing.T) (target *httptest.Server, asked func() *http.Request) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewBuildInfoCollector())
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sizes_bytes", Help: "Sizes.", NativeHistogramBucketFactor: 1.1})
	for i := range 1000 {
		h.Observe(float64(i))
	}
	reg.MustRegister(h)
	requests := make(chan *http.Request, 100)
	handler := promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
	target = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		if status := r.URL.Query().Get("status"); status != "" {
			w.Header().Set("Content-Type", "text/x-own")
			http.Error(w, "the target's own words", map[string]int{"503": 503, "404": 404}[status])
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(target.Close)
	return target, func() *http.Request { return <-requests }
}

// Every way to a target must give what asking it directly gives.
func TestEveryRouteIsTheTargetsOwnAnswer(t *testing.T) {
	s := newStack(t, 2)
	target, asked := exposition(t)
	port := target.URL[strings.LastIndex(target.URL, ":")+1:]
	s.addAgent("edge-1", "FARSCRAPE_TARGETS=app="+target.URL+"/metrics")

	accepts := map[string]string{
		"text":        "text/plain;version=0.0.4",
		"OpenMetrics": "application/openmetrics-text;version=1.0.0",
		"protobuf":    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	}
	ways := map[string]func(query string, header ...string) *answer{}
	for i, r := range s.Replicas {
		name := string(rune('A' + i))
		ways["path through "+name] = func(query string, header ...string) *answer { return s.scrape(r, "edge-1/app"+query, header...) }
		ways["proxy through "+name] = func(query string, header ...string) *answer {
			return s.proxied(r, "http://edge-1:"+port+"/metrics"+query, header...)
		}
	}
	for way, ask := range ways {
		for format, accept := range accepts {
			for _, encoding := range []string{"identity", "gzip"} {
				t.Run(strings.Join([]string{way, format, encoding}, " "), func(t *testing.T) {
					header := []string{"Accept", accept, "Accept-Encoding", encoding}
					want := get(t, target.URL+"/metrics", header...)
					asked()
					got := ask("", header...)
					asked()
					same(t, got, want)
					if gzipped := got.Header.Get("Content-Encoding") == "gzip"; gzipped != (encoding == "gzip") {
						t.Errorf("Content-Encoding %q for %s", got.Header.Get("Content-Encoding"), encoding)
					}
				})
			}
		}
		t.Run(way+" keeps the query", func(t *testing.T) {
			const query = `match[]=%7Bjob%3D%22a+b%22%7D&match%5B%5D=up&x=%2f&&y`
			if got := ask("?" + query); got.StatusCode != 200 {
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
			if r := asked(); r.URL.RawQuery != query {
				t.Errorf("the target was asked %q", r.URL.RawQuery)
			}
		})
		t.Run(way+" keeps the target's status", func(t *testing.T) {
			want := get(t, target.URL+"/metrics?status=503")
			asked()
			got := ask("?status=503")
			asked()
			same(t, got, want)
			if got.reason() != "target" {
				t.Errorf("Farscrape-Error: %q", got.reason())
			}
		})
		t.Run(way+" shows the target nothing of ours", func(t *testing.T) {
			ask("", "Farscrape-Token", s.scraper, "Connection", "X-Hop", "X-Hop", "1", "X-Prometheus-Scrape-Timeout-Seconds", "7")
			r := asked()
			for name, values := range r.Header {
				if strings.HasPrefix(name, "Farscrape-") || strings.HasPrefix(name, "Proxy-") || name == "X-Hop" || strings.Contains(fmt.Sprint(values), s.scraper) {
					t.Errorf("the target sees %s", name)
				}
			}
		})
	}
}

func same(t *testing.T, got, want *answer) {
	t.Helper()
	if got.StatusCode != want.StatusCode || got.Header.Get("Content-Type") != want.Header.Get("Content-Type") || got.Header.Get("Content-Encoding") != want.Header.Get("Content-Encoding") {
		t.Errorf("got %d %v, want %d %v", got.StatusCode, got.Header, want.StatusCode, want.Header)
	}
	if got.err != nil || !bytes.Equal(got.body, want.body) {
		t.Errorf("got %d bytes (%v), want %d", len(got.body), got.err, len(want.body))
	}
}

// A body that lies about nothing is passed on as it is, whatever it is.
func TestAGzipBombIsNotOpened(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(make([]byte, 10<<20))
		_ = w.Close()
		target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed.Bytes())
		}))
		t.Cleanup(target.Close)
		s.addAgent("a", "FARSCRAPE_TARGETS=bomb="+target.URL+"/")
		got := s.scrape(s.edge(), "a/bomb", "Accept-Encoding", "gzip")
		if got.StatusCode != 200 || !bytes.Equal(got.body, packed.Bytes()) {
			t.Errorf("%d, %d bytes of %d", got.StatusCode, len(got.body), packed.Len())
		}
	})
}
