package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// exchangeRaw sends bytes on a connection and returns all that comes back until it is
// closed.
func exchangeRaw(t *testing.T, conn net.Conn, send string) string {
	t.Helper()
	defer conn.Close()
	_, _ = io.WriteString(conn, send)
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open after %.200q", send)
	}
	return string(got)
}

// serveAt serves a handler as the relay serves each of its listeners.
func serveAt(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config, srv.Listener = Server(h), Listener(srv.Listener)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// No request here has a body. What one has may be another request to whoever
// stands before us, or to us: nothing that follows is read.
func TestABodyEndsItsConnection(t *testing.T) {
	b := newBench(t)
	never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an upgrade with a body is let through") })
	second := "GET /-/healthy HTTP/1.1\r\nHost: second\r\n\r\n"
	for listener, addr := range map[string]string{
		"edge": b.addr, "agents": serveAt(t, b.edge.Agents(&AgentSide{Connect: never})), "ops": serveAt(t, b.edge.Ops(http.NotFoundHandler())),
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"} {
			for _, path := range []string{"/-/healthy", "/sd", "/scrape/edge-1/node", "http://edge-1:9100/metrics", "/nothing", wire.ConnectPath} {
				for _, body := range []string{
					"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
					"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
					"Content-Length: 5\r\n\r\nhello",
				} {
					got := exchangeRaw(t, dial(t, addr, nil), method+" "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer "+b.scraper+"\r\n"+
						"Upgrade: websocket\r\nConnection: Upgrade\r\n"+body+second)
					if n := strings.Count(got, "HTTP/1.1 "); n != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
						t.Errorf("%s: %s %s with %.40q: %d answers: %q", listener, method, path, body, n, got)
					}
				}
			}
		}
	}
	if s := b.last(); s != nil {
		t.Errorf("a target was asked: %+v", s)
	}
	for _, request := range []string{"GET /sd", "GET /clients", "GET /metrics/agents", "DELETE /api/v1/agents/edge-1"} {
		b.send(t, request+" HTTP/1.1\nHost: 127.0.0.1\nAuthorization: Bearer "+b.scraper+"\nContent-Length: 5\n\nhello").want(t, 400, "bad_request")
	}
	if len(b.forgot) > 0 {
		t.Errorf("forgot %v", b.forgot)
	}
}

// What net/http answers before any handler sees the request has a reason, too.
func TestTheServersOwnAnswersHaveAReason(t *testing.T) {
	plainAndTLS(t, testTheServersOwnAnswersHaveAReason)
}

func testTheServersOwnAnswersHaveAReason(t *testing.T, newBench makeBench) {
	b := newBench(t)
	for name, test := range map[string]struct {
		request string
		status  string
	}{
		"no HTTP":             {"hello\r\n\r\n", "400 Bad Request"},
		"no Host":             {"GET / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"},
		"a bad field":         {"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "400 Bad Request: invalid header name"},
		"two lengths":         {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400 Bad Request"},
		"an odd encoding":     {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", "501 Not Implemented"},
		"a long header":       {"GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", "431 Request Header Fields Too Large"},
		"another version":     {"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "505 HTTP Version Not Supported: unsupported protocol version"},
		"another expectation": {"GET / HTTP/1.1\r\nHost: x\r\nExpect: something\r\n\r\n", "417 Expectation Failed"},
	} {
		for _, before := range []string{"", "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"} { // also the second of a connection
			got := exchangeRaw(t, b.dial(t), before+test.request)
			answers := bufio.NewReader(strings.NewReader(got))
			if before != "" {
				resp, err := http.ReadResponse(answers, nil)
				if err != nil || resp.StatusCode != 200 || resp.Header.Get(wire.HeaderError) != "" {
					t.Fatalf("%s: %q", name, got)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil || resp.Status != test.status || resp.Header.Get(wire.HeaderError) != "bad_request" || len(resp.Header.Values(wire.HeaderError)) != 1 {
				t.Errorf("%s: %v, %q", name, err, got)
			}
		}
	}
}

// A body that reads like such an answer is a target's, and stays as it is.
func TestABodyThatReadsLikeAnAnswerStaysAsItIs(t *testing.T) {
	plainAndTLS(t, testABodyThatReadsLikeAnAnswerStaysAsItIs)
}

func testABodyThatReadsLikeAnAnswerStaysAsItIs(t *testing.T, newBench makeBench) {
	b := newBench(t)
	piece := "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request" + strings.Repeat("x", 64<<10)
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		return streamed(-1, nil, piece, piece, piece), nil
	}
	if o := b.get(t, "/scrape/edge-1/node"); o.StatusCode != 200 || o.body != strings.Repeat(piece, 3) {
		t.Errorf("%d, %d bytes of %d", o.StatusCode, len(o.body), 3*len(piece))
	}
}

// Connections that wait for a request cost a descriptor and some memory each.
// Whoever opens more and more of them loses the oldest; none that is being
// answered is touched, nor an agent's.
func TestWaitingConnectionsAreBounded(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testWaiting(t, func(l net.Listener) net.Listener { return l }, nil) })
	t.Run("TLS", func(t *testing.T) {
		listener, conf := withTLS(t)
		testWaiting(t, listener, conf)
	})
}

func testWaiting(t *testing.T, listener func(net.Listener) net.Listener, conf *tls.Config) {
	const most, more = 20, 30
	hold, held := make(chan struct{}), make(chan struct{})
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/held":
			held <- struct{}{}
			<-hold
		case "/link":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			held <- struct{}{}
			<-hold
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		}
	}), most)
	srv.Listener = Listener(listener(srv.Listener))
	// Who waits for how long is the server's view: a connection is idle, or new,
	// a little later than its client believes.
	changed, seen := srv.Config.ConnState, make(chan http.ConnState, 1000)
	srv.Config.ConnState = func(c net.Conn, state http.ConnState) {
		changed(c, state)
		if state == http.StateNew || state == http.StateIdle {
			seen <- state
		}
	}
	await := func(state http.ConnState) {
		for <-seen != state {
		}
	}
	srv.Start()
	defer srv.Close()
	open := func() (net.Conn, *bufio.Reader) {
		conn := dial(t, srv.Listener.Addr().String(), conf)
		await(http.StateNew)
		return conn, bufio.NewReader(conn)
	}
	ask := func(conn net.Conn, r *bufio.Reader, path string) error {
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	busy := make(chan error, most)
	for i := range most {
		conn, r := open()
		go func() { busy <- ask(conn, r, []string{"/held", "/link"}[i%2]) }()
		<-held
	}
	kept, keptReader := open()
	var waiting []*bufio.Reader
	for i := range most + more {
		conn, r := open()
		if i%2 == 0 { // one that has been answered; the others have not said a word
			if err := ask(conn, r, "/"); err != nil {
				t.Fatal(err)
			}
			await(http.StateIdle)
		}
		waiting = append(waiting, r)
		if err := ask(kept, keptReader, "/"); err != nil { // in use: never the oldest
			t.Fatalf("a connection that is in use was closed: %v", err)
		}
		await(http.StateIdle)
	}
	for i, r := range waiting[:more] {
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("connection %d of %d is not closed: %v", i, len(waiting), err)
		}
	}
	close(hold)
	for range most {
		if err := <-busy; err != nil {
			t.Errorf("a connection that was being answered: %v", err)
		}
	}
	last := waiting[len(waiting)-1]
	_ = kept.SetReadDeadline(time.Now().Add(10 * time.Second))
	if err := ask(kept, keptReader, "/"); err != nil || last.Buffered() > 0 {
		t.Errorf("the youngest: %v", err)
	}
}

func TestTheAgentsListener(t *testing.T) {
	b := newBench(t, publicURL("https://relay.example.com/p"))
	addr := serveAt(t, b.edge.Agents(&AgentSide{Connect: func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusTeapot, "linked") }}))
	b.addr = addr
	for request, want := range map[string]struct {
		status int
		reason string
	}{
		"GET " + wire.ConnectPath:        {http.StatusTeapot, ""},
		"GET /p" + wire.ConnectPath:      {http.StatusTeapot, ""},
		"GET " + wire.ConnectPath + "?x": {http.StatusTeapot, ""},
		"POST " + wire.ConnectPath:       {405, "method"},
		"GET /q" + wire.ConnectPath:      {404, "agent_unknown"},
		"GET " + wire.ConnectPath + "/":  {404, "agent_unknown"},
		"GET /-/ready":                   {200, ""},
		"GET /p/-/healthy":               {200, ""},
		"GET /sd":                        {404, "agent_unknown"},
		"GET /scrape/edge-1/node":        {404, "agent_unknown"},
		"GET http://edge-1/metrics":      {404, "agent_unknown"},
		"GET //" + wire.ConnectPath[1:]:  {404, "agent_unknown"},
		"OPTIONS *":                      {404, "agent_unknown"},
		"GET /metrics":                   {404, "agent_unknown"},
	} {
		o := b.send(t, request+" HTTP/1.1\nHost: relay.example.com\nAuthorization: Bearer "+b.scraper+"\n\n")
		if t.Log(request); o.StatusCode != want.status || o.reason() != want.reason {
			t.Errorf("%s: %d %q %q, want %d %q", request, o.StatusCode, o.reason(), o.body, want.status, want.reason)
		}
	}
	if b.last() != nil {
		t.Error("a target was asked")
	}
	ops := serveAt(t, b.edge.Ops(http.NotFoundHandler()))
	b.addr = ops
	b.send(t, "GET /nothing HTTP/1.1\nHost: x\n\n").want(t, 404, "agent_unknown")
}
