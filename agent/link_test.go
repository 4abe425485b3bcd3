package agent

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestTheUpgradeAndTheHelloSayWhoItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil, func(c *Config) {
			c.RelayURL, c.Shared, c.Ephemeral, c.Labels = "ws://relay/prefix/", true, true, "site=berlin"
		})
		l := relay.link()
		if l.path != "/prefix/agent/connect" || l.header.Get("Authorization") != "Bearer secret-token" ||
			l.header.Get(wire.HeaderAgent) != "edge-1" || l.header[wire.HeaderHeld] != nil || l.conn.Subprotocol() != wire.Subprotocol {
			t.Errorf("dialled %s with %v", l.path, l.header)
		}
		h := l.hello
		if h.Agent != "edge-1" || h.Instance != a.instance || h.Epoch != 0 || h.Version == "" || !h.Shared || !h.Ephemeral || len(h.Held) != 0 {
			t.Errorf("said %+v", h)
		}
		if len(l.targets) != 2 || l.targets[0].Name != "app" || l.targets[0].Labels["site"] != "berlin" || l.targets[1].Name != wire.OwnTarget {
			t.Errorf("declared %+v", l.targets)
		}
	})
}

func TestWhatTheReplicaSaysGoesBeforeAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrote, read := make(chan error, 1), make(chan error, 1)
		l := &link{log: slog.New(slog.DiscardHandler), sock: newSocket(nil)}
		wrote <- net.ErrClosed
		time.AfterFunc(10*time.Millisecond, func() {
			read <- websocket.CloseError{Code: websocket.StatusCode(wire.CauseSuperseded.Code())}
		})
		if cause := l.watch(t.Context(), wrote, read); cause != wire.CauseSuperseded {
			t.Errorf("closed for %v", cause)
		}
		wrote <- net.ErrClosed
		if cause := l.watch(t.Context(), wrote, read); cause != wire.CauseLost {
			t.Errorf("without a word: closed for %v", cause)
		}
	})
}

func TestFourteenSecondsOfSilenceAreDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil)
		l := relay.link()
		l.welcome(1)
		time.Sleep(13 * time.Second)
		l.ping(1)
		heard := time.Now()
		<-l.closed
		if silence := time.Since(heard); silence != wire.PeerTimeout {
			t.Errorf("dead after %v", silence)
		}
		relay.link().welcome(1)
		synctest.Wait()
		if got := reconnects(t, a); !strings.Contains(got, `cause="timeout"} 1`) {
			t.Errorf("counted %s", got)
		}
	})
}

func TestAnyByteIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		l := relay.link()
		l.welcome(1)
		w, err := l.conn.Writer(context.Background(), websocket.MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		ping := wire.Frame{Type: wire.TypePing, Payload: wire.Ping{Token: 3}.Append(nil)}.Append(nil)
		for i := range ping { // one message, a minute long
			time.Sleep(10 * time.Second)
			if _, err := w.Write(ping[i : i+1]); err != nil {
				t.Fatal(err)
			}
			// The library sends a piece only with what follows it.
			if err := l.conn.Ping(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		l.expect(wire.TypePong)
	})
}

func TestNoWelcomeWithinTenSecondsIsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil)
		l := relay.link()
		opened := time.Now()
		if <-l.closed; time.Since(opened) != welcomeWithin {
			t.Errorf("closed after %v", time.Since(opened))
		}
		if got := metricLines(t, a, "farscrape_agent_links "); got != "farscrape_agent_links 0\n" {
			t.Errorf("counted %s", got)
		}
	})
}

func TestALinkThatBreaksTheProtocolIsClosed(t *testing.T) {
	for what, send := range map[string]func(*fakeLink){
		"a text message": func(l *fakeLink) { l.conn.Write(context.Background(), websocket.MessageText, []byte("x")) },
		"no frame":       func(l *fakeLink) { l.conn.Write(context.Background(), websocket.MessageBinary, []byte("x")) },
		"a frame of the agent's": func(l *fakeLink) {
			l.send(wire.Frame{Type: wire.TypeHello, Payload: []byte("{}")})
		},
		"an unknown frame":  func(l *fakeLink) { l.send(wire.Frame{Type: 77}) },
		"a bad WELCOME":     func(l *fakeLink) { l.send(wire.Frame{Type: wire.TypeWelcome, Payload: []byte("{")}) },
		"a bad DRAIN":       func(l *fakeLink) { l.send(wire.Frame{Type: wire.TypeDrain, Payload: []byte("[]")}) },
		"a short PING":      func(l *fakeLink) { l.send(wire.Frame{Type: wire.TypePing, Payload: []byte("x")}) },
		"a long CREDIT":     func(l *fakeLink) { l.send(wire.Frame{Type: wire.TypeCredit, Payload: make([]byte, 5)}) },
		"a frame cut short": func(l *fakeLink) { l.conn.Write(context.Background(), websocket.MessageBinary, make([]byte, 17)) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay := newFakeRelay(t)
				start(t, relay.network, nil)
				l := relay.link()
				l.welcome(1)
				send(l)
				if cause := l.cause(); cause != wire.CauseProtocol {
					t.Errorf("closed for %v", cause)
				}
			})
		})
	}
}

func TestOptionalFramesOfLaterVersionsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		l := relay.link()
		l.welcome(1)
		l.send(wire.Frame{Type: 255, Payload: []byte("news")})
		l.ping(1)
	})
}

func TestAMessageMayBeAsLongAsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		l := relay.link()
		l.welcome(1)
		message := wire.Frame{Type: 255, Payload: make([]byte, wire.MaxPayload)}.Append(nil)
		w, err := l.conn.Writer(context.Background(), websocket.MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range [][]byte{message[:1], message[1:], nil} {
			if _, err := w.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		l.ping(1)
		l.send(wire.Frame{Type: 255, Payload: make([]byte, wire.MaxPayload)}, wire.Frame{Type: 255})
		if cause := l.cause(); cause != wire.CauseProtocol {
			t.Errorf("a frame more: closed for %v", cause)
		}
	})
}

func TestWhenItStopsScrapesInFlightAreAnswered(t *testing.T) {
	for _, takes := range []time.Duration{100 * time.Millisecond, 3 * time.Second, time.Hour} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay := newFakeRelay(t)
				relay.unhurried = true
				targets := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(takes):
					case <-r.Context().Done():
					}
				}))
				a, err := New(Config{RelayURL: "http://relay", Token: "x", Name: "edge-1", Targets: "app=http://h/", Links: 1},
					Options{dialRelay: relay.dial, dialTarget: targets.dial})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(context.Background())
				ended := make(chan error)
				go func() { ended <- a.Run(ctx) }()
				l := relay.link()
				l.welcome(1)
				id := l.request("app", func(q *wire.Request) { q.Remaining = 2 * time.Hour })
				synctest.Wait()
				stopped := time.Now()
				stop()
				if d, err := wire.ParseDrain(l.expect(wire.TypeDrain).Payload); err != nil || d.Cause != "stopping" {
					t.Errorf("said %+v, %v", d, err)
				}
				if takes < stopWithin {
					if r := l.reply(id); r.reason() != wire.OK {
						t.Errorf("the scrape: %v", r.reason())
					}
				}
				if <-l.closed; websocket.CloseStatus(l.err) != websocket.StatusCode(wire.CauseAgentStopped.Code()) {
					t.Errorf("closed with %v", l.err)
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if took, want := time.Since(stopped), min(max(takes, linger), stopWithin); took != want {
					t.Errorf("stopped after %v, want %v", took, want)
				}
			})
		})
	}
}
