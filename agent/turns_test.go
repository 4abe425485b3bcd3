package agent

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestScrapesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.backlog = 0 // a thin line: it takes what the test takes
		start(t, relay.network, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := 50 * dataSize
			if r.URL.RawQuery == "small" {
				n = 100
			}
			w.Write(make([]byte, n))
		})))
		l := relay.link()
		l.welcome(1)
		huge := l.request("app", func(q *wire.Request) { q.Credit = wire.MaxWindow })
		synctest.Wait()
		small := l.request("app", func(q *wire.Request) { q.Query = "small" })
		synctest.Wait() // its answer is ready
		between := 0
		for {
			f, _ := l.next()
			if f.Scrape == small && f.Type == wire.TypeEnd {
				break
			}
			if f.Scrape == huge && f.Type == wire.TypeData {
				between++
			}
		}
		// What was in the socket and in the message at hand, and no more.
		if between > 6 {
			t.Errorf("%d pieces of the large answer went before the small one", between)
		}
		l.cancel(huge)
	})
}

// A slowConn takes its time for what is written to it, as a thin line does.
type slowConn struct {
	net.Conn
	perByte *atomic.Int64 // time.Duration
}

func (c slowConn) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(c.perByte.Load()) * time.Duration(len(p)))
	return c.Conn.Write(p)
}

func TestATurnIsHalfAMessageOnASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		targets := serve(t, text(strings.Repeat("x", 10*dataSize)))
		var perByte atomic.Int64
		startAgent(t, Options{dialTarget: targets.dial, dialRelay: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := relay.dial(ctx, network, address)
			return slowConn{conn, &perByte}, err
		}})
		l := relay.link()
		l.welcome(1)
		largest := func() (most int) {
			id := l.request("app", func(q *wire.Request) { q.Credit, q.Remaining = wire.MaxWindow, time.Minute })
			for {
				switch f, _ := l.next(); {
				case f.Scrape == id && f.Type == wire.TypeData:
					most = max(most, len(f.Payload))
				case f.Scrape == id && f.Type == wire.TypeEnd:
					return most
				}
			}
		}
		for _, line := range []struct {
			perByte time.Duration
			most    int
		}{{0, dataSize}, {15 * time.Microsecond, dataSize}, {15 * time.Microsecond, slowDataSize}, {0, dataSize}} {
			perByte.Store(int64(line.perByte))      // 15 µs: 64 kB/s
			if got := largest(); got != line.most { // what was known of the line is of the scrape before
				t.Errorf("%d bytes in a frame, want %d", got, line.most)
			}
		}
	})
}
