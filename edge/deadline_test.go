package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/farscrape/farscrape/relay/wire"
)

// pipes is a listener whose connections stay inside a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// inBubble runs test with a dial to a real server for f, in fake time.
func inBubble(t *testing.T, f *fake, test func(e *Edge, conn net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Scraper: f, NoAuth: true, Logger: slog.New(slog.NewTextHandler(suiteLog{}, nil))})
		srv := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" { // that shares the listener
				w.WriteHeader(http.StatusNoContent)
				return
			}
			e.Handler().ServeHTTP(w, r)
		}))
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		served := make(chan error)
		go func() { served <- srv.Serve(l) }()
		client, server := net.Pipe()
		l.conns <- server
		test(e, client)
		client.Close()
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		synctest.Wait()
		if n := testutil.ToFloat64(e.metrics.inflight); n != 0 {
			t.Errorf("%v scrapes go on", n)
		}
	})
}

const tenSeconds = "GET /scrape/edge-1/node HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"

// Prometheus gives up after 10 s; the reason must be there before.
func TestDeadlineIsAnsweredInTime(t *testing.T) {
	var told string
	f := &fake{answer: func(ctx context.Context, s *wire.Scrape) (*wire.Answer, error) {
		told = fieldOf(s.Header, timeoutHeader)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	inBubble(t, f, func(_ *Edge, conn net.Conn) {
		start := time.Now()
		_, _ = io.WriteString(conn, tenSeconds)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 9500*time.Millisecond || told != "9.5" {
			t.Errorf("answered after %v; the target was told %s s", took, told)
		}
		if resp.StatusCode != 504 || resp.Header.Get(wire.HeaderError) != "deadline" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
	})
}

// stalled is a body that says one thing and then nothing until ctx ends.
type stalled struct {
	ctx  context.Context
	said bool
}

func (s *stalled) Read(p []byte) (int, error) {
	if !s.said {
		s.said = true
		return copy(p, "up 1\n"), nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func (s *stalled) Close() error { return nil }

func TestDeadlineWithinABodyBreaksItOff(t *testing.T) {
	f := &fake{answer: func(ctx context.Context, _ *wire.Scrape) (*wire.Answer, error) {
		return &wire.Answer{Head: wire.Head{Status: 200}, Length: -1, Body: &stalled{ctx: ctx}, Route: "local"}, nil
	}}
	inBubble(t, f, func(e *Edge, conn net.Conn) {
		start := time.Now()
		_, _ = io.WriteString(conn, tenSeconds)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if took := time.Since(start); string(body) != "up 1\n" || err == nil || took != 9500*time.Millisecond {
			t.Errorf("%q, %v after %v", body, err, took)
		}
		if n := testutil.ToFloat64(e.metrics.scrapes.WithLabelValues("local", "deadline")); n != 1 {
			t.Errorf("%v counted", n)
		}
	})
}

// A scraper that stops reading holds nothing past its deadline.
func TestScraperThatDoesNotRead(t *testing.T) {
	f := &fake{answer: func(context.Context, *wire.Scrape) (*wire.Answer, error) { return whole(200, big), nil }}
	inBubble(t, f, func(e *Edge, conn net.Conn) {
		_, _ = io.WriteString(conn, tenSeconds)
		time.Sleep(10*time.Second + writeGrace + time.Millisecond)
		synctest.Wait()
		if n := testutil.ToFloat64(e.metrics.scrapes.WithLabelValues("local", "deadline")); n != 1 {
			t.Errorf("%v counted as deadline", n)
		}
		if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
}

func TestScraperThatGoesAway(t *testing.T) {
	var ended error
	f := &fake{answer: func(ctx context.Context, _ *wire.Scrape) (*wire.Answer, error) {
		<-ctx.Done()
		ended = ctx.Err()
		return nil, ended
	}}
	inBubble(t, f, func(e *Edge, conn net.Conn) {
		start := time.Now()
		_, _ = io.WriteString(conn, tenSeconds)
		synctest.Wait()
		conn.Close()
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("noticed after %v", took)
		}
		if n := testutil.ToFloat64(e.metrics.scrapes.WithLabelValues("none", "canceled")); n != 1 {
			t.Errorf("%v counted as canceled", n)
		}
	})
	if !errors.Is(ended, context.Canceled) {
		t.Errorf("the scrape's context ended with %v", ended)
	}
}

// A connection on which a scrape's time to write has passed serves the next.
func TestWriteDeadlineIsPerRequest(t *testing.T) {
	inBubble(t, &fake{}, func(_ *Edge, conn net.Conn) {
		reader := bufio.NewReader(conn)
		for _, request := range []string{tenSeconds, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n", "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n", tenSeconds} {
			_, _ = io.WriteString(conn, request)
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			time.Sleep(5 * time.Minute)
		}
	})
}

func TestABodyThatNeverComesHoldsNoConnection(t *testing.T) {
	for _, path := range []string{"/-/healthy", "/sd", "/scrape/edge-1/node", "/other"} {
		inBubble(t, &fake{}, func(_ *Edge, conn net.Conn) {
			start := time.Now()
			go func() { _, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n") }()
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%s: open for %s", path, took)
			}
		})
	}
}
