package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// Discovery tells the URL that it was asked by: where the listener itself ends TLS,
// that is https.
func TestDiscoveryByTLSSaysHTTPS(t *testing.T) {
	b := newTLSBench(t)
	b.agents = []wire.Agent{agentOf("default", "edge-1", []wire.Target{{Name: "node", Address: "h:1"}}, "r1")}
	if o := b.get(t, "/sd"); o.StatusCode != 200 || !strings.Contains(o.body, `"__scheme__":"https"`) {
		t.Errorf("%d %s", o.StatusCode, o.body)
	}
}

// To HTTP/1.0 only the end of the connection tells where an answer without a length
// ends, and over TLS it is said: OpenSSL's clients take one that merely stops for one
// that was cut. Go's do not mind, so it is the records that are looked at.
func TestAWholeAnswerOverTLSEndsWithAWord(t *testing.T) {
	b := newTLSBench(t)
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) { return streamed(-1, nil, big), nil }
	for request, whole := range map[string]string{
		"GET /scrape/edge-1/node HTTP/1.0\r\nAuthorization: Bearer " + b.scraper + "\r\n\r\n": big,
		"no request\r\n\r\n": "400 Bad Request",
	} {
		raw := &recorded{Conn: dial(t, b.addr, nil)}
		conf := b.tls.Clone()
		conf.ServerName, conf.MaxVersion = "localhost", tls.VersionTLS12 // whose records say of what kind they are
		conn := tls.Client(raw, conf)
		_, _ = io.WriteString(conn, request)
		if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), whole) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		const alert = 21
		if raw.last() != alert {
			t.Errorf("%.20q: the last record is of kind %d", request, raw.last())
		}
	}
}

// A recorded connection keeps what is read from it.
type recorded struct {
	net.Conn
	read []byte
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.read = append(r.read, p[:n]...)
	return n, err
}

// last is the kind of the last TLS record.
func (r *recorded) last() (kind byte) {
	for rest := r.read; len(rest) >= 5; {
		kind = rest[0]
		rest = rest[min(len(rest), 5+int(rest[3])<<8+int(rest[4])):]
	}
	return kind
}

// TLS says goodbye, and waits for it to be taken. Who reads nothing must not hold up
// whoever closes the connections of many, be it for a new one or at the end.
func TestADeafConnectionIsClosedAtOnce(t *testing.T) {
	listener, conf := withTLS(t)
	conf.ServerName = "localhost"
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		srv := server(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), 4)
		var serving sync.WaitGroup
		serving.Go(func() { _ = srv.Serve(Listener(listener(l))) })
		start := time.Now()
		for range 16 {
			ours, theirs := net.Pipe()
			defer ours.Close()
			l.conns <- theirs
			c := tls.Client(ours, conf)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close() // and from here on it reads nothing
			synctest.Wait()
		}
		_ = srv.Close()
		serving.Wait()
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %s", took)
		}
	})
}
