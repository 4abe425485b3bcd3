package agent

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A replica that reads nothing still pings: it is not silent.
func TestALinkEndsWhoseReplicaPingsAndReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.backlog = 0
		a := start(t, relay.network, serve(t, text(strings.Repeat("x", 2*dataSize))))
		l := relay.link()
		l.welcome(1)
		l.stayAlive(1)
		l.request("app", func(q *wire.Request) { q.Credit, q.Remaining = wire.MaxWindow, time.Hour })
		time.Sleep(writeWithin - time.Second)
		if got := endings(t, a); got != "" {
			t.Errorf("after less than the time: counted %s", got)
		}
		time.Sleep(3 * time.Second)
		if got := endings(t, a); !strings.Contains(got, `cause="slow"} 1`) {
			t.Errorf("counted %q", got)
		}
	})
}

// endings are the reconnects that were counted, by cause.
func endings(t *testing.T, a *Agent) (lines string) {
	t.Helper()
	for line := range strings.Lines(reconnects(t, a)) {
		if !strings.HasSuffix(line, " 0\n") {
			lines += line
		}
	}
	return lines
}

// A thin connection is read from 1000 bytes a second.
type thin struct{ net.Conn }

func (c thin) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return c.Conn.Read(p[:min(len(p), 1000)])
}

func TestALinkStaysWhoseLineIsThin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		body := strings.Repeat("x", 2*dataSize)
		targets := serve(t, text(body))
		a := startAgent(t, Options{dialTarget: targets.dial, dialRelay: func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			relay.conns <- thin{far}
			return near, nil
		}})
		l := relay.link()
		l.welcome(1)
		l.stayAlive(1)
		asked := time.Now()
		r := l.reply(l.request("app", func(q *wire.Request) { q.Credit, q.Remaining = wire.MaxWindow, time.Hour }))
		if took := time.Since(asked); r.reason() != wire.OK || len(r.body) != len(body) || took < 4*writeWithin {
			t.Errorf("%v, %d bytes after %v", r.reason(), len(r.body), took)
		}
		if got := endings(t, a); got != "" {
			t.Errorf("counted %s", got)
		}
	})
}

func TestAnAgentStopsWhoseReplicaReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.backlog = 0
		targets := serve(t, text(strings.Repeat("x", 2*dataSize)))
		a, err := New(Config{RelayURL: "http://relay", Token: "x", Name: "edge-1", Targets: "app=http://h/", Links: 1},
			Options{dialRelay: relay.dial, dialTarget: targets.dial})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- a.Run(ctx) }()
		l := relay.link()
		l.welcome(1)
		l.stayAlive(1)
		l.request("app", func(q *wire.Request) { q.Credit, q.Remaining = wire.MaxWindow, time.Hour })
		synctest.Wait()
		stopped := time.Now()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(stopped); took > stopWithin+2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
