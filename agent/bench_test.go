package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// What a scrape costs the agent, from REQUEST to END over loopback. Neither target
// nor relay is one of Go's servers: what they do hardly shows in the figures.
//
//	go test -run - -bench Scrape -count 10 ./agent | tee new.txt; benchstat old.txt new.txt
func BenchmarkScrape(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"2kB", 2_300}, {"54kB", 54_000}} {
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(size.n))
			b.ReportAllocs()
			relay := newBenchRelay(b, cannedTarget(b, size.n))
			relay.scrape(size.n) // opens the connection to the target
			for b.Loop() {
				relay.scrape(size.n)
			}
		})
	}
}

// cannedTarget is a target on a real socket that answers any request with a body
// of n bytes, and allocates nothing for it.
func cannedTarget(b *testing.B, n int) (url string) {
	b.Helper()
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"+
		"Date: Fri, 20 Nov 2026 12:00:00 GMT\r\nContent-Length: %d\r\n\r\n", n)
	answer = append(answer, bytes.Repeat([]byte("x"), n)...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	serve := func(conn net.Conn) {
		defer conn.Close()
		request := make([]byte, 4<<10) // comes in one piece over loopback
		for {
			if _, err := conn.Read(request); err != nil {
				return
			}
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for { // on a busy machine net/http gives up a connection that works
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(conn) })
		}
	})
	b.Cleanup(func() { listener.Close(); serving.Wait() })
	return "http://" + listener.Addr().String() + "/metrics"
}

// A benchRelay is a replica with one link, asking for one target.
type benchRelay struct {
	b       *testing.B
	conn    *websocket.Conn
	request wire.Frame
	message [wire.MaxMessage]byte
}

func newBenchRelay(b *testing.B, target string) *benchRelay {
	b.Helper()
	conns := make(chan *websocket.Conn, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
		if err != nil {
			b.Error(err)
			return
		}
		conn.SetReadLimit(wire.MaxMessage)
		conns <- conn
	}))
	b.Cleanup(server.Close)
	startAgent(b, Options{}, func(c *Config) { c.RelayURL, c.Targets, c.Links = server.URL, "app="+target, 1 })
	r := &benchRelay{b: b, conn: <-conns}
	b.Cleanup(func() { r.conn.CloseNow() })
	q := wire.Request{
		Remaining: 10 * time.Second, Credit: wire.LocalWindow, Agent: "edge-1", Tenant: wire.DefaultTenant, Target: "app",
		Header: []wire.Field{
			{Name: "User-Agent", Value: "Prometheus/3.5.0"},
			{Name: "Accept", Value: "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"},
			{Name: "Accept-Encoding", Value: "gzip"}, {Name: "X-Prometheus-Scrape-Timeout-Seconds", Value: "10"},
		},
	}
	r.request = wire.Frame{Type: wire.TypeRequest, Attempt: 1, Payload: q.Append(nil)}
	r.send(wire.Frame{Type: wire.TypeWelcome, Payload: wire.MarshalControl(&wire.Welcome{
		Replica: wire.NewID[wire.ReplicaID](), Link: wire.NewID[wire.LinkID](), Replicas: 1,
	})})
	return r
}

func (r *benchRelay) send(f wire.Frame) {
	if err := r.conn.Write(context.Background(), websocket.MessageBinary, f.Append(r.message[:0])); err != nil {
		r.b.Fatal(err)
	}
}

// scrape asks once, and reads until END; the body must be n bytes.
func (r *benchRelay) scrape(n int) {
	r.request.Scrape++
	r.send(r.request)
	for {
		_, reader, err := r.conn.Reader(context.Background())
		if err != nil {
			r.b.Fatal(err)
		}
		size, err := fill(reader, r.message[:])
		if err != io.EOF {
			r.b.Fatal(err)
		}
		for frames := r.message[:size]; len(frames) > 0; {
			f, rest, err := wire.Next(frames)
			if err != nil {
				r.b.Fatal(err)
			}
			frames = rest
			switch f.Type {
			case wire.TypeData:
				n -= len(f.Payload)
			case wire.TypeNack:
				r.b.Fatalf("refused: %q", f.Payload)
			case wire.TypeEnd:
				if f.Payload[0] != byte(wire.OK) || n != 0 {
					r.b.Fatalf("END is %q, %d bytes short", f.Payload, n)
				}
				return
			}
		}
	}
}
