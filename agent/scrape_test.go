package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// linked starts an agent and gives it its one link.
func linked(t *testing.T, target http.Handler, change ...func(*Config)) *fakeLink {
	t.Helper()
	relay := newFakeRelay(t)
	start(t, relay.network, serve(t, target), change...)
	l := relay.link()
	l.welcome(1)
	return l
}

func TestASmallAnswerIsOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, text("up 1\n"))
		id := l.request("app")
		if l.pending = <-l.frames; len(l.pending) != 3 {
			t.Errorf("%d frames in the first message, want HEAD, DATA and END", len(l.pending))
		}
		r := l.reply(id)
		if r.reason() != wire.OK || r.head.Status != 200 || string(r.body) != "up 1\n" || r.header("Content-Length") != "5" || r.acks != 0 {
			t.Errorf("got %+v", r)
		}
	})
}

func TestAnEmptyAnswerAndOneOfTheTargetsOwnErrorsAreWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "fail" {
				http.Error(w, "no", http.StatusServiceUnavailable)
			}
		}))
		if r := l.reply(l.request("app")); r.reason() != wire.OK || r.head.Status != 200 || len(r.body) != 0 {
			t.Errorf("empty: %+v", r)
		}
		r := l.reply(l.request("app", func(q *wire.Request) { q.Query = "fail" }))
		if r.reason() != wire.OK || r.head.Status != 503 || string(r.body) != "no\n" {
			t.Errorf("failing: %+v", r)
		}
	})
}

func TestWhatReachesTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan *http.Request, 1)
		l := linked(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r }),
			func(c *Config) { c.Targets = "app=http://app.internal:8080/metrics?a=%31" })
		l.reply(l.request("app", func(q *wire.Request) {
			q.Query = "match[]=up&&x=%7B"
			q.Header = []wire.Field{
				{Name: "accept", Value: "text/plain"}, {Name: "Accept", Value: "application/openmetrics-text"},
				{Name: "X-Prometheus-Scrape-Timeout-Seconds", Value: "10"}, {Name: "Authorization", Value: "Bearer for-the-target"},
				{Name: "Connection", Value: "X-Hop, close"}, {Name: "X-Hop", Value: "1"}, {Name: "Proxy-Authorization", Value: "Basic x"},
				{Name: "Farscrape-Token", Value: "x"}, {Name: "Te", Value: "trailers"}, {Name: "Host", Value: "evil"}, {Name: "Content-Length", Value: "9"},
			}
		}))
		r := <-asked
		if r.Method != "GET" || r.RequestURI != "/metrics?a=%31&match[]=up&&x=%7B" || r.Host != "app.internal:8080" || r.Proto != "HTTP/1.1" {
			t.Errorf("asked %s %s %s of %s", r.Method, r.RequestURI, r.Proto, r.Host)
		}
		want := http.Header{
			"Accept":                              {"text/plain", "application/openmetrics-text"},
			"X-Prometheus-Scrape-Timeout-Seconds": {"10"},
			"Authorization":                       {"Bearer for-the-target"},
		}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("the header is %v, want %v", r.Header, want)
		}
	})
}

func TestBodiesPassByteForByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gzipped := append([]byte("\x1f\x8b\x08\x00"), bytes.Repeat([]byte{0, 255, '\r', '\n'}, 1000)...)
		l := linked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", r.Header.Get("Accept-Encoding"))
			w.Header()["Content-Type"] = []string{"application/vnd.google.protobuf; proto=x"}
			w.Write(gzipped)
		}))
		r := l.reply(l.request("app", func(q *wire.Request) {
			q.Header = []wire.Field{{Name: "Accept-Encoding", Value: "gzip"}}
		}))
		if !bytes.Equal(r.body, gzipped) || r.header("Content-Encoding") != "gzip" || r.header("Content-Type") != "application/vnd.google.protobuf; proto=x" {
			t.Errorf("got %d bytes, %v", len(r.body), r.head)
		}
	})
}

func TestATargetsOwnCredentialsWin(t *testing.T) {
	file := t.TempDir() + "/targets.yml"
	writeFile(t, file, `targets:
- name: app
  url: http://app.internal:8080/metrics
  basic_auth: {username: prom, password: own}
  http_headers: {X-Scope: {values: [mine]}}
`)
	asked := make(chan *http.Request, 1)
	l := linked(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r }), func(c *Config) {
		c.Targets = ""
		c.TargetsFile = file
	})
	l.reply(l.request("app", func(q *wire.Request) {
		q.Header = []wire.Field{{Name: "Authorization", Value: "Bearer theirs"}, {Name: "X-Scope", Value: "theirs"}}
	}))
	r := <-asked
	if user, password, _ := r.BasicAuth(); user != "prom" || password != "own" || fmt.Sprint(r.Header["X-Scope"]) != "[mine]" {
		t.Errorf("asked with %v", r.Header)
	}
}

func TestWhatIsNotDeclaredIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) }),
			func(c *Config) { c.Targets = "app=http://h/metrics,tree=http://h/tree/*" })
		for what, c := range map[string]struct {
			target string
			change func(*wire.Request)
			want   wire.Reason
		}{
			"an undeclared target":  {"other", func(*wire.Request) {}, wire.TargetNotDeclared},
			"a path below a path":   {"app", func(q *wire.Request) { q.Rest = "x" }, wire.TargetNotDeclared},
			"a path out of a tree":  {"tree", func(q *wire.Request) { q.Rest = "%2e%2e/metrics" }, wire.TargetNotDeclared},
			"another agent":         {"app", func(q *wire.Request) { q.Agent = "edge-2" }, wire.AgentUnknown},
			"a query that is none":  {"app", func(q *wire.Request) { q.Query = "a b" }, wire.BadRequest},
			"no time at all":        {"app", func(q *wire.Request) { q.Remaining = 0 }, wire.Deadline},
			"a name with a newline": {"a\nb", func(*wire.Request) {}, wire.TargetNotDeclared},
		} {
			r := l.reply(l.request(c.target, c.change))
			if r.reason() != c.want || r.nack == nil && c.want != wire.Deadline || strings.Contains(r.detail(), "\n") {
				t.Errorf("%s: %v %q", what, r.reason(), r.detail())
			}
		}
	})
}

func TestASubtreeIsAskedBelowItsPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) }),
			func(c *Config) { c.Targets = "tree=http://h/tree/*?k=v" })
		r := l.reply(l.request("tree", func(q *wire.Request) { q.Rest, q.Query = "a%2Fb/metrics", "x" }))
		if string(r.body) != "/tree/a%2Fb/metrics?k=v&x" {
			t.Errorf("asked for %s", r.body)
		}
	})
}

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

func TestASlowTargetIsAcknowledgedAfter100Milliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(300 * time.Millisecond)
			io.WriteString(w, "first")
			http.NewResponseController(w).Flush()
			time.Sleep(300 * time.Millisecond)
			io.WriteString(w, "second")
		}))
		asked := time.Now()
		l.request("app")
		for _, want := range []struct {
			frame wire.Type
			after time.Duration
		}{
			{wire.TypeAck, 100 * time.Millisecond},
			{wire.TypeHead, 400 * time.Millisecond}, // the head, and as long again for a body to go with it
			{wire.TypeData, 600 * time.Millisecond},
			{wire.TypeEnd, 600 * time.Millisecond},
		} {
			l.expect(want.frame)
			if after := time.Since(asked); after != want.after {
				t.Errorf("%v came after %v, want %v", want.frame, after, want.after)
			}
		}
	})
}

func TestAScrapeEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan time.Duration, 2)
		asked := time.Now()
		l := linked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "body" {
				io.WriteString(w, "half")
				http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
			gone <- time.Since(asked)
		}))
		for _, query := range []string{"", "body"} {
			asked = time.Now()
			r := l.reply(l.request("app", func(q *wire.Request) { q.Query = query }))
			if took := time.Since(asked); r.reason() != wire.Deadline || took != time.Second || <-gone != time.Second {
				t.Errorf("%q: %v after %v", query, r.reason(), took)
			}
		}
	})
}

func TestOnAStalledLineAScrapeEndsAtItsDeadlineAndIsNotTakenForWhole(t *testing.T) {
	for what, size := range map[string]int{"within a body": 100 * dataSize, "at its end": 4*dataSize - 1} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone := make(chan struct{}, 1)
				relay := newFakeRelay(t)
				relay.backlog = 0
				a := start(t, relay.network, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Write(make([]byte, size))
					gone <- struct{}{}
				})))
				l := relay.link()
				l.welcome(1)
				id := l.request("app", func(q *wire.Request) { q.Credit = wire.MaxWindow })
				time.Sleep(time.Second)
				<-gone
				synctest.Wait()
				a.gate.mu.Lock()
				if a.gate.running != 0 {
					t.Errorf("%d in flight after the deadline", a.gate.running)
				}
				a.gate.mu.Unlock()
				if r := l.reply(id); r.reason() != wire.Deadline || len(r.body) >= size {
					t.Errorf("%v after %d of %d bytes", r.reason(), len(r.body), size)
				}
				l.ping(1)
			})
		})
	}
}

func TestCancelReachesTheTargetAndIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, gone := make(chan struct{}), make(chan struct{})
		l := linked(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					break
				}
			}
			close(gone)
		}))
		id := l.request("app", func(q *wire.Request) { q.Credit = 100 })
		<-asked
		synctest.Wait() // an endless body stands at the end of its credit
		l.cancel(id)
		if r := l.reply(id); r.reason() != wire.Canceled || len(r.body) != 100 {
			t.Errorf("%v after %d bytes", r.reason(), len(r.body))
		}
		<-gone
		l.cancel(id)       // unknown by now
		l.cancel(id + 100) // and always
		l.ping(1)
	})
}

func TestDataKeepsWithinItsCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("0123456789", 10_000)
		l := linked(t, text(body))
		id := l.request("app", func(q *wire.Request) { q.Credit = 10 })
		l.expect(wire.TypeHead)
		var got []byte
		for _, grant := range []uint32{0, 1, 5_000, 60_000} {
			l.credit(id, grant)
			synctest.Wait()
			want := len(got) + int(grant)
			if len(got) == 0 {
				want = 10
			}
			for len(got) < want {
				got = append(got, l.expect(wire.TypeData).Payload...)
			}
			if len(got) != want || len(l.frames) > 0 {
				t.Fatalf("%d bytes came, %d were granted", len(got), want)
			}
		}
		l.credit(id, 1<<31)
		for len(got) < len(body) {
			got = append(got, l.expect(wire.TypeData).Payload...)
		}
		if end, err := wire.ParseEnd(l.expect(wire.TypeEnd).Payload); end.Failure != nil || err != nil || string(got) != body {
			t.Errorf("%v, %v after %d bytes", end, err, len(got))
		}
	})
}

func TestABodyAsLongAsItsCreditNeedsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, text(strings.Repeat("x", 3*dataSize)))
		r := l.reply(l.request("app", func(q *wire.Request) { q.Credit = 3 * dataSize }))
		if r.reason() != wire.OK || len(r.body) != 3*dataSize {
			t.Errorf("%v after %d bytes", r.reason(), len(r.body))
		}
	})
}

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

func TestTheSameScrapeTwiceIsRefusedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := linked(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		l.request("app")
		l.last--
		id := l.request("app")
		l.expect(wire.TypeNack)
		close(release)
		if r := l.reply(id); r.reason() != wire.OK {
			t.Errorf("the first: %v", r.reason())
		}
		if r := l.reply(l.request("app")); r.reason() != wire.OK {
			t.Errorf("after it: %v", r.reason())
		}
	})
}

func TestAMalformedRequestIsRefusedAndTheLinkStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := linked(t, text("up"))
		l.send(wire.Frame{Type: wire.TypeRequest, Scrape: 99, Attempt: 1, Payload: []byte("no request")})
		if r := l.reply(99); r.nack == nil || r.reason() != wire.BadRequest {
			t.Errorf("got %+v", r)
		}
		if r := l.reply(l.request("app")); r.reason() != wire.OK {
			t.Errorf("after it: %v", r.reason())
		}
	})
}

func TestTheGateLetsInInOrderAndByTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.limit(2, 1)
		a, b := testTarget(t, "http://a/"), testTarget(t, "http://b/")
		a.Name, b.Name = "a", "b"
		if g.enter(t.Context(), a) != nil || g.enter(t.Context(), b) != nil {
			t.Fatal("no place in an empty gate")
		}
		in := make(chan string)
		for _, w := range []struct {
			name   string
			target *target
		}{{"a2", a}, {"a3", a}, {"b2", b}} {
			go func() {
				if err := g.enter(t.Context(), w.target); err == nil {
					in <- w.name
				}
			}()
			synctest.Wait()
			if w.name == "a3" { // as many wait as may run
				if err := g.enter(t.Context(), b); err == nil || err.Reason != wire.TooManyScrapes {
					t.Errorf("a third waiter: %v", err)
				}
				g.limit(3, 1)
				if got := len(g.waiting); got != 2 {
					t.Errorf("%d wait, want 2", got)
				}
			}
		}
		g.leave(b)
		if got := <-in; got != "b2" {
			t.Errorf("%s came in, want b2", got)
		}
		g.leave(a)
		if got := <-in; got != "a2" {
			t.Errorf("%s came in, want a2", got)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.enter(ended, a); err == nil || err.Reason != wire.TooManyScrapes {
			t.Errorf("with no time: %v", err)
		}
		g.leave(a)
		if got := <-in; got != "a3" {
			t.Errorf("%s came in, want a3", got)
		}
		g.leave(a)
		g.leave(b)
		if g.running != 0 || len(g.of) != 0 || len(g.waiting) != 0 {
			t.Errorf("left over: %+v", g)
		}
	})
}
