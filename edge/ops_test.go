package edge

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestReadiness(t *testing.T) {
	b := newBench(t)
	ready := func() outcome { return b.send(t, "GET /-/ready HTTP/1.1\nHost: x\n\n") }
	b.starting = true
	if o := ready(); o.StatusCode != 503 {
		t.Errorf("starting: %d", o.StatusCode)
	}
	b.starting = false
	if o := ready(); o.StatusCode != 200 || o.Close {
		t.Errorf("ready: %d, close %v", o.StatusCode, o.Close)
	}
	b.draining = true
	if o := ready(); o.StatusCode != 503 || !o.Close {
		t.Errorf("draining: %d, close %v", o.StatusCode, o.Close)
	}
	if o := b.get(t, "/scrape/edge-1/node"); o.StatusCode != 200 || !o.Close {
		t.Errorf("a scrape while draining: %d, close %v", o.StatusCode, o.Close)
	}
	b.refusing = true
	b.get(t, "/scrape/edge-1/node").want(t, 503, "draining")
	b.send(t, "GET http://edge-1/ HTTP/1.1\nHost: x\nFarscrape-Token: "+b.scraper+"\n\n").want(t, 503, "draining")
	b.send(t, "GET /-/healthy HTTP/1.1\nHost: x\n\n").want(t, 200, "")
}

func TestOps(t *testing.T) {
	b := newBench(t)
	ops := b.edge.Ops(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(ownMetrics)) }))
	for path, want := range map[string]string{
		"/metrics": ownMetrics, "/-/healthy": "healthy\n", "/-/ready": "ready\n",
		"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile", "/debug/pprof/cmdline": "edge.test",
	} {
		w := httptest.NewRecorder()
		ops.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.80s", path, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap"} {
		b.get(t, path).want(t, 404, "agent_unknown")
	}
}

func TestScrapesAreCounted(t *testing.T) {
	b := newBench(t)
	n, err := testutil.GatherAndCount(b.registry, "farscrape_relay_scrapes_total")
	if want := 3 * len(wire.Reasons()); err != nil || n != want {
		t.Errorf("%d series from the start, want %d, %v", n, want, err)
	}
	b.get(t, "/scrape/edge-1/node")
	b.get(t, "/scrape/edge-1")
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) { return whole(500, ""), nil }
	b.get(t, "/scrape/edge-1/node")
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		return &wire.Answer{Route: "bus"}, wire.Errorf(wire.Deadline, "")
	}
	b.get(t, "/scrape/edge-1/node")
	b.get(t, "/sd") // is no scrape
	for series, want := range map[[2]string]float64{
		{"local", "ok"}: 1, {"none", "bad_request"}: 1, {"local", "target"}: 1, {"bus", "deadline"}: 1, {"none", "unauthorized"}: 0,
	} {
		if got := testutil.ToFloat64(b.edge.metrics.scrapes.WithLabelValues(series[0], series[1])); got != want {
			t.Errorf("%v: %v, want %v", series, got, want)
		}
	}
	if got := testutil.ToFloat64(b.edge.metrics.inflight); got != 0 {
		t.Errorf("%v in flight", got)
	}
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{
		"farscrape_relay_scrape_duration_seconds":     3,
		"farscrape_relay_scrape_own_duration_seconds": 2, // of whole answers
	}
	for _, f := range families {
		if h := f.GetMetric()[0].GetHistogram(); h != nil && (h.GetSampleCount() != counts[f.GetName()] || len(h.GetBucket()) == 0 || h.Schema == nil) {
			t.Errorf("%s: %v", f.GetName(), h)
		}
	}
	if problems, err := testutil.GatherAndLint(b.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// One dead agent must not fill the log, nor hide another.
func TestFailuresAreLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := &fake{answer: func(_ context.Context, s *wire.Scrape) (*wire.Answer, error) {
			return nil, wire.Errorf(wire.AgentOffline, "no link")
		}}
		e := New(Config{Scraper: f, NoAuth: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		scrape := func(agent string) string {
			log.Reset()
			e.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/scrape/"+agent+"/node?token=in-the-query", nil))
			return log.String()
		}
		first := scrape("edge-1")
		for _, want := range []string{"level=WARN", "agent=edge-1", "target=node", "tenant=default", "reason=agent_offline", "duration=", `detail="no link"`} {
			if !strings.Contains(first, want) {
				t.Errorf("%q is not in %s", want, first)
			}
		}
		if strings.Contains(first, "in-the-query") {
			t.Errorf("the query is in %s", first)
		}
		if again := scrape("edge-1"); again != "" {
			t.Errorf("again at once: %s", again)
		}
		if other := scrape("edge-2"); other == "" {
			t.Error("another agent's is held back")
		}
		time.Sleep(quietFor)
		if later := scrape("edge-1"); !strings.Contains(later, "like_it_before=1") {
			t.Errorf("a minute later: %s", later)
		}
	})
}

// Prometheus 3.13.5 does so, and fails after some hundred scrapes.
func TestARepeatedTokenIsToldOnce(t *testing.T) {
	var log bytes.Buffer
	b := newBench(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for copies := 1; copies <= 3; copies++ {
		r := httptest.NewRequest("GET", "/scrape/edge-1/node", nil)
		for range copies {
			r.Header.Add(wire.HeaderToken, b.scraper)
		}
		w := httptest.NewRecorder()
		b.edge.Handler().ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("%d copies: %d", copies, w.Code)
		}
		if got, want := strings.Count(log.String(), "431"), min(copies-1, 1); got != want {
			t.Errorf("%d copies: told %d times: %s", copies, got, &log)
		}
	}
	if strings.Contains(log.String(), b.scraper) {
		t.Error("the token is in the log")
	}
}

// Which agent a proxy-mode request meant is known once the address is looked up,
// even if no scrape came of it.
func TestAFailedProxyScrapeNamesItsAgent(t *testing.T) {
	var log bytes.Buffer
	f := &fake{answer: func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		return &wire.Answer{Agent: "edge-1", Target: "node"}, wire.Errorf(wire.AgentOffline, "no link")
	}}
	e := New(Config{Scraper: f, NoAuth: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	r := httptest.NewRequest("GET", "http://db.internal:9100/metrics", nil)
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, r)
	for _, want := range []string{"agent=edge-1 ", "target=node ", "route=none ", "host=db.internal:9100", "reason=agent_offline"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in %s", want, &log)
		}
	}
	if n := testutil.ToFloat64(e.metrics.scrapes.WithLabelValues(routeNone, "agent_offline")); n != 1 {
		t.Errorf("counted %v times with no route", n)
	}
}

// One agent's failures, or one tenant's, leave places for those of others.
func TestFailuresAreLoggedByShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := New(Config{Scraper: &fake{}, NoAuth: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		shown := func(tenant, agent, of string) bool {
			_, show := e.dueToLog(quietKey{wire.AgentKey{Tenant: tenant, Agent: agent}, of, wire.TargetAmbiguous}, time.Now())
			return show
		}
		many := func(n int, show func(i string) bool) (logged int) {
			for i := range n {
				if show(strconv.Itoa(i)) {
					logged++
				}
			}
			return logged
		}
		if n := many(10_000, func(i string) bool { return shown("red", "bad", i) }); n != quietEach {
			t.Errorf("%d of one agent are logged, want %d", n, quietEach)
		}
		if !shown("red", "good", "") {
			t.Error("an agent's failures keep another's out")
		}
		if n := many(10_000, func(i string) bool { return shown("red", i, "") }); n > quietKeys*2/3 {
			t.Errorf("%d of one tenant are logged", n)
		}
		if !shown("blue", "good", "") {
			t.Error("a tenant's failures keep another's out")
		}
		if n := many(100_000, func(i string) bool { return shown(i, i, i) }); len(e.quiet.seen) > quietKeys || n == 0 {
			t.Errorf("%d are remembered", len(e.quiet.seen))
		}
		if got := strings.Count(log.String(), "left out"); got != 1 {
			t.Errorf("told %d times of what is left out: %s", got, &log)
		}
		before := testutil.ToFloat64(e.metrics.unlogged)
		log.Reset()
		time.Sleep(quietFor)
		if !shown("red", "later", "") || len(e.quiet.seen) != 1 || e.quiet.places.Members() != 1 {
			t.Errorf("a minute later %d are remembered", len(e.quiet.seen))
		}
		many(quietEach+9, func(i string) bool { return shown("red", "bad", i) })
		if want := "failures=" + strconv.Itoa(int(before)); !strings.Contains(log.String(), want) || testutil.ToFloat64(e.metrics.unlogged) != before+9 {
			t.Errorf("%s: want %s: those since it was told, and this one", &log, want)
		}
	})
}

// What was like a failure that is forgotten, since others needed its place, is told as
// left out.
func TestWhatWasLikeAForgottenFailureIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuiet()
		stranger := func(of int) verdict {
			v, _ := q.judge(quietKey{of: strconv.Itoa(of), reason: wire.Unauthorized}, time.Now())
			return v
		}
		for range 1 + 500 {
			stranger(0)
		}
		time.Sleep(quietFor)
		for of := range quietEach {
			if v := stranger(1 + of); v != due {
				t.Fatalf("the %dth is %v", of, v)
			}
		}
		if n := q.leftOutUntold(time.Now()); n != 500 {
			t.Errorf("%d were left out", n)
		}
	})
}

// What is remembered of a failure must not keep the request that it came with.
func TestNamesOfALongURIAreCopied(t *testing.T) {
	path := "/scrape/edge-1/node/" + strings.Repeat("x", longURI)
	r := httptest.NewRequest("GET", path, nil)
	var s wire.Scrape
	e := New(Config{Scraper: &fake{}, NoAuth: true})
	if err := e.aim(&s, r, pathMode); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{s.Agent, s.Target} {
		if at := uintptr(unsafe.Pointer(unsafe.StringData(name))) - uintptr(unsafe.Pointer(unsafe.StringData(r.RequestURI))); at < uintptr(len(r.RequestURI)) {
			t.Errorf("%s is a part of the URI", name)
		}
	}
}
