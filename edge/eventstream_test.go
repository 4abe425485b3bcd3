package edge

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

func TestEventsAreStreamed(t *testing.T) {
	b := newBench(t)
	base := "http://" + b.addr
	b.journal.happen("default", "edge-1", wire.EventLinked, 0)
	all := follow(t, b.client, base, b.scraper, "", "")
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := all.resp.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if first, _ := all.next(); first.retry != "2000" {
		t.Errorf("it begins with %+v", first)
	}
	all.placed()
	some := follow(t, b.client, base, b.scraper, "?agent=edge-*&kind=closed", "")
	some.placed()
	foreign := follow(t, b.client, base, b.narrow, "", "")
	foreign.placed()
	b.journal.happen("default", "edge-1", wire.EventClosed, 1)
	b.journal.happen("blue", "core-1", wire.EventClosed, -1)
	b.journal.happen("default", "core-1", wire.EventClosed, 2)
	b.journal.happen("default", "edge-2", wire.EventLinked, 3)
	b.journal.happen("blue", "edge-1", wire.EventClosed, -2)
	b.journal.happen("default", "edge-2", wire.EventClosed, 4)
	if got := all.numbers(4); got != "1 2 3 4" {
		t.Errorf("all: %s", got)
	}
	if got := some.numbers(2); got != "1 4" {
		t.Errorf("some: %s", got)
	}
	if got := foreign.numbers(1); got != "-2" {
		t.Errorf("another tenant's: %s", got)
	}
}

// Whoever was cut goes on where it was, and is told if that is not kept any more.
func TestAStreamOfEventsGoesOn(t *testing.T) {
	b := newBench(t)
	base := "http://" + b.addr
	r := follow(t, b.client, base, b.scraper, "", "")
	r.placed() // though nothing has happened
	r.cut()
	for i := range 250 {
		b.journal.happen("default", "edge-1", wire.EventLinked, i)
	}
	r = follow(t, b.client, base, b.scraper, "", r.lastID)
	if got := r.numbers(2); got != "0 1" {
		t.Errorf("%s", got)
	}
	r.cut()
	r = follow(t, b.client, base, b.scraper, "?after=9-9", r.lastID) // a browser's own URL stays
	if got := r.numbers(248); !strings.HasPrefix(got, "2 3 ") || !strings.HasSuffix(got, " 248 249") {
		t.Errorf("%s", got)
	}
	r = follow(t, b.client, base, b.scraper, "?after=1-0", "")
	if got := r.numbers(3); got != "reset 0 1" {
		t.Errorf("%s", got)
	}
}

// A drainable replica drains when a test says so.
type drainable struct {
	*fake
	drains atomic.Bool
}

func (d *drainable) Draining() bool { return d.drains.Load() }

// pipeBench makes an edge whose connections are in memory, so that time can be faked.
func pipeBench(t *testing.T) (b *bench, dial func() net.Conn, drain func()) {
	t.Helper()
	ring, err := token.ParseKeys([]byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	b = &bench{fake: &fake{}, journal: newFakeJournal()}
	b.scraper = mint(t, ring, token.Claims{Role: token.Scraper, Name: "p", Expires: time.Now().Add(time.Hour)}, time.Now())
	b.narrow = mint(t, ring, token.Claims{Role: token.Scraper, Name: "q"}, time.Now())
	replica := &drainable{fake: b.fake}
	b.edge = New(Config{Scraper: replica, Journal: b.journal, Keys: token.NewKeys(ring), Logger: slog.New(slog.NewTextHandler(suiteLog{}, nil))})
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	dial = func() net.Conn {
		ours, theirs := net.Pipe()
		l.conns <- theirs
		return ours
	}
	srv := Server(b.edge.Handler())
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	b.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(), nil }}}
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return b, dial, func() { replica.drains.Store(true) }
}

func TestAStreamOfEventsEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(b *bench, drain func())
		within time.Duration
	}{
		"with its token":               {func(*bench, func()) {}, time.Hour + 2*time.Second},
		"when its token is taken back": {func(b *bench, _ func()) { b.edge.Revoked.SetStored(revoking("p")) }, 2 * time.Second},
		"with the replica":             {func(_ *bench, drain func()) { drain() }, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, drain := pipeBench(t)
				start := time.Now()
				r := follow(t, b.client, "http://relay", b.scraper, "", "")
				r.placed()
				synctest.Wait()
				c.end(b, drain)
				beats := 0
				for {
					if _, ok := r.next(); !ok {
						break
					}
					beats++
				}
				if r.lines.Err() != nil || time.Since(start) > c.within {
					t.Errorf("it has ended with %v after %v", r.lines.Err(), time.Since(start))
				}
				if quiet := time.Since(start).Seconds() / 15; float64(beats) < quiet-2 || float64(beats) > quiet+1 {
					t.Errorf("%d comments", beats)
				}
			})
		})
	}
}

// Who does not read is cut, and leaves nothing behind.
func TestASlowReaderOfEventsIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, dial, _ := pipeBench(t)
		conn := dial()
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET /api/v1/events?after=0-0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", b.narrow); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 10)
		if _, err := io.ReadFull(conn, first); err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			b.journal.happen("default", "edge-1", wire.EventLinked, i)
		}
		synctest.Wait()
		if n := b.edge.watches.count(); n != 1 {
			t.Errorf("%v streams", n)
		}
		time.Sleep(streamWrite + 2*time.Second)
		synctest.Wait()
		if n := b.edge.watches.count(); n != 0 || len(b.edge.watches.tenants) != 0 {
			t.Errorf("%v streams are left, of %d tenants", n, len(b.edge.watches.tenants))
		}
	})
}

// A stream outlives the journal's absence, and says so.
func TestAStreamOfEventsOutlivesRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := pipeBench(t)
		b.journal.away.Store(true)
		r := follow(t, b.client, "http://relay", b.narrow, "", "")
		for _, want := range []string{"", "bus_unavailable: redis is away", "", ""} {
			if got, _ := r.next(); got.comment != want || got.id != "" {
				t.Errorf("%+v, want %q", got, want)
			}
		}
		b.journal.happen("default", "edge-1", wire.EventLinked, 0) // before it is known from where on
		b.journal.away.Store(false)
		r.placed()
		if got, _ := r.next(); got.comment != "the journal is back" {
			t.Errorf("%+v", got)
		}
		b.journal.away.Store(true)
		b.journal.happen("default", "edge-1", wire.EventLinked, 1)
		if got, _ := r.next(); !strings.HasPrefix(got.comment, "bus_unavailable") {
			t.Errorf("%+v", got)
		}
		b.journal.away.Store(false)
		if got := r.numbers(1); got != "1" {
			t.Errorf("%s", got)
		}
	})
}

// However many follow a tenant's journal, it is looked at once a second; and they are
// no more than so many of a token.
func TestStreamsOfEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := pipeBench(t)
		for range streamsEach {
			follow(t, b.client, "http://relay", b.narrow, "", "").placed()
		}
		before := b.journal.looks.Load()
		time.Sleep(14 * time.Second)
		if n := b.journal.looks.Load() - before; n < 13 || n > 16 {
			t.Errorf("%d looks in 14 s", n)
		}
		refused := follow(t, b.client, "http://relay", b.narrow, "", "")
		if refused.resp.StatusCode != 503 || refused.resp.Header.Get(wire.HeaderError) != "overloaded" {
			t.Errorf("one more: %s", refused.resp.Status)
		}
		other := follow(t, b.client, "http://relay", b.scraper, "", "")
		other.placed()
		other.cut()
		synctest.Wait()
		if n := b.edge.watches.count(); n != streamsEach {
			t.Errorf("%v streams", n)
		}
	})
}
