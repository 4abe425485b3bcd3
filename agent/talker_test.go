package agent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A talker is a target whose every word on the wire is the test's: it hands over
// its connections.
type talker struct {
	t     *testing.T
	conns chan *talk
	asks  transport // what asks it
}

// awaited is how long a test waits for what must come.
const awaited = 10 * time.Second

// await is what comes from c.
func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(awaited):
		t.Fatal("nothing comes")
	}
	return v
}

// A talk is one connection to a talker.
type talk struct {
	net.Conn
	in *bufio.Reader
}

func newTalker(t *testing.T) *talker {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &talker{t: t, conns: make(chan *talk, 8)}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(awaited))
			k.conns <- &talk{conn, bufio.NewReader(conn)}
		}
	})
	asked := &target{Target: wire.Target{Name: "app"}}
	if err := asked.connect(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
	}); err != nil {
		t.Fatal(err)
	}
	k.asks = asked.transport
	t.Cleanup(func() {
		k.asks.closeIdle()
		listener.Close()
		done.Wait()
	})
	return k
}

// hear reads a request.
func (c *talk) hear(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(c.in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c *talk) say(t *testing.T, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the other side to close the connection.
func (c *talk) ends(t *testing.T) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still open: %d bytes, %v", n, err)
	}
}

// An outcome is what came of asking.
type outcome struct {
	body string
	err  error
}

// ask asks for a path and reads the whole answer, in the background.
func (k *talker) ask(ctx context.Context, path string, header ...wire.Field) <-chan outcome {
	answered := make(chan outcome, 1)
	go func() {
		r, err := k.asks.get(ctx, &url.URL{Scheme: "http", Host: "app.example:8080", Path: path}, header)
		if err != nil {
			answered <- outcome{err: err}
			return
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		answered <- outcome{string(body), err}
	}()
	return answered
}

// idle is a connection over which a scrape has gone.
func (k *talker) idle() *talk {
	k.t.Helper()
	first := k.ask(k.t.Context(), "/1")
	c := await(k.t, k.conns)
	c.hear(k.t)
	c.say(k.t, short)
	await(k.t, first).is(k.t, "up")
	return c
}

func (o outcome) is(t *testing.T, body string) {
	t.Helper()
	if o.err != nil || o.body != body {
		t.Errorf("got %q, %v; want %q", o.body, o.err, body)
	}
}

const short = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup"
