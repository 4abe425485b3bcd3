package agent

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

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
				asked, gone := make(chan struct{}, 2), make(chan struct{}, 2)
				relay := newFakeRelay(t)
				relay.backlog = 0
				start(t, relay.network, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					asked <- struct{}{}
					w.Write(make([]byte, size))
					gone <- struct{}{}
				})))
				l := relay.link()
				l.welcome(1, func(w *wire.Welcome) { w.MaxInflightTarget = 1 })
				window := func(q *wire.Request) { q.Credit = wire.MaxWindow }
				id := l.request("app", window)
				<-asked
				time.Sleep(time.Second)
				<-gone
				next := l.request("app", window)
				synctest.Wait()
				select {
				case <-asked:
				default:
					t.Error("it still has the target's one place after its deadline")
				}
				if r := l.reply(id); r.reason() != wire.Deadline || len(r.body) >= size {
					t.Errorf("%v after %d of %d bytes", r.reason(), len(r.body), size)
				}
				l.reply(next)
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
