package edge

import (
	"context"
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
