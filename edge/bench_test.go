package edge

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// What the edge itself costs a scrape of 50 kB, without a network:
//
//	go test -run - -bench Scrape ./edge
func BenchmarkScrape(b *testing.B) {
	body := big[:50_000]
	f := &fake{}
	f.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		f.seen = nil
		return whole(200, body, wire.Field{Name: "Content-Type", Value: "text/plain"}), nil
	}
	e := New(Config{Scraper: f, NoAuth: true, Logger: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequest("GET", "/scrape/edge-1/node", nil)
	r.Header = http.Header{
		"Accept": {"text/plain"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"Prometheus/3.5"}, timeoutHeader: {"10"},
	}
	h := e.Handler()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(discard{http.Header{}}, r)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
func (d discard) WriteHeader(int)             {}

// What discovery costs for a tenant of 50,000 targets, five agents with 10,000
// each: made anew, and asked for again.
//
//	go test -run - -bench Discovery ./edge
func BenchmarkDiscovery(b *testing.B) {
	var agents []wire.Agent
	for i := range 5 {
		targets := make([]wire.Target, 10_000)
		for j := range targets {
			targets[j] = wire.Target{Name: fmt.Sprintf("target-%05d", j), Scheme: "http", Port: uint16(1024 + j), Path: "/metrics",
				Labels: map[string]string{"job": "node", "site": "berlin", "rack": fmt.Sprint(j % 40)}}
		}
		agents = append(agents, agentOf("default", fmt.Sprintf("edge-%d", i), targets, "r1", "r2"))
	}
	for _, mode := range []string{"path", "proxy"} {
		for _, same := range []bool{false, true} {
			f := &fake{agents: agents, same: same}
			e := New(Config{Scraper: f, NoAuth: true, Logger: slog.New(slog.DiscardHandler)})
			b.Run(fmt.Sprintf("mode=%s,same=%v", mode, same), func(b *testing.B) {
				for b.Loop() {
					w := httptest.NewRecorder()
					e.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/sd?mode="+mode, nil))
					if w.Code != 200 || w.Body.Len() < 5_000_000 {
						b.Fatal(w.Code, w.Body.Len())
					}
				}
			})
		}
	}
}
