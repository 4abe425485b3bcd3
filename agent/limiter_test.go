package agent

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestOverTheLimitAScrapeWaitsHalfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		relay := newFakeRelay(t)
		start(t, relay.network, serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })))
		l := relay.link()
		l.welcome(1, func(w *wire.Welcome) { w.MaxInflightTarget = 1 })
		minute := func(q *wire.Request) { q.Remaining = time.Minute }
		first := l.request("app", minute)
		synctest.Wait()
		asked := time.Now()
		second := l.request("app", func(q *wire.Request) { q.Remaining = 10 * time.Second })
		f := l.expect(wire.TypeAck)
		for f.Type == wire.TypeAck {
			f, _ = l.next()
		}
		n, err := wire.ParseNack(f.Payload)
		if err != nil || f.Scrape != second || n.Reason != wire.TooManyScrapes || time.Since(asked) != 5*time.Second {
			t.Errorf("%v %v after %v, %v", f.Type, n, time.Since(asked), err)
		}
		third := l.request("app", minute)
		l.expect(wire.TypeAck)
		close(release)
		if r := l.reply(first); r.reason() != wire.OK {
			t.Errorf("the first: %v", r.reason())
		}
		if r := l.reply(third); r.reason() != wire.OK {
			t.Errorf("the third, which waited: %v", r.reason())
		}
	})
}

func TestCancelledWhileItWaitsForAPlaceAScrapeEnds(t *testing.T) {
	release := make(chan struct{})
	l := linked(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }), func(c *Config) {
		c.Targets, c.TargetsFile = "", t.TempDir()+"/targets.yml"
		writeFile(t, c.TargetsFile, "targets: [{name: app, url: 'http://h/', max_inflight: 1}]")
	})
	minute := func(q *wire.Request) { q.Remaining = time.Minute }
	first, second := l.request("app", minute), l.request("app", minute)
	l.expect(wire.TypeAck)
	l.expect(wire.TypeAck)
	l.cancel(second)
	if r := l.reply(second); r.end == nil || r.end.Reason != wire.Canceled {
		t.Errorf("got %+v", r)
	}
	close(release)
	l.reply(first)
}

func TestPlacesAreGivenInOrderAndByTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		l.limit(2, 1)
		a, b := testTarget(t, "http://a/"), testTarget(t, "http://b/")
		a.Name, b.Name = "a", "b"
		if !l.tryAcquire(a) || l.acquire(t.Context(), b) != nil {
			t.Fatal("no place where nothing is in flight")
		}
		in := make(chan string)
		wait := func(name string, of *target) {
			go func() {
				if l.acquire(t.Context(), of) == nil {
					in <- name
				}
			}()
			synctest.Wait()
		}
		wait("a2", a)
		wait("a3", a)
		if err := l.acquire(t.Context(), b); err == nil || err.Reason != wire.TooManyScrapes {
			t.Errorf("as many wait as may run, and a third does: %v", err)
		}
		l.limit(3, 1)
		wait("b2", b)
		for _, next := range []struct {
			leaves *target
			comes  string
		}{{b, "b2"}, {a, "a2"}} {
			l.release(next.leaves)
			if got := <-in; got != next.comes {
				t.Errorf("%s came in, want %s", got, next.comes)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.acquire(ended, a); err == nil || err.Reason != wire.TooManyScrapes {
			t.Errorf("with no time: %v", err)
		}
		l.release(a)
		if got := <-in; got != "a3" {
			t.Errorf("%s came in, want a3", got)
		}
		l.release(a)
		l.release(b)
		l.limit(3, 3)
		for n := range 4 {
			if got := l.tryAcquire(a); got != (n < 3) {
				t.Errorf("when all are back, place %d of 3: %v", n+1, got)
			}
		}
	})
}
