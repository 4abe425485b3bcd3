package agent

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// refuseWith answers dials with a status, as a replica does.
func refuseWith(status int, retryAfter string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, "not now", status)
		return true
	}
}

// noMoreLinks checks that the agent is content for a second.
func (r *fakeRelay) noMoreLinks() {
	r.t.Helper()
	select {
	case l := <-r.links:
		r.t.Fatalf("one link too many, with %v", l.header)
	case <-time.After(time.Second):
	}
}

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

func TestAsManyLinksAsReplicasUpToTheWish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil)
		first := relay.link()
		welcome := first.welcome(1)
		relay.noMoreLinks()
		first.ping(2) // a second replica has come
		second := relay.link()
		if second.header.Get(wire.HeaderHeld) != string(welcome.Replica) || len(second.hello.Held) != 1 || second.hello.Held[0] != welcome.Link ||
			second.hello.Epoch != 7 || second.hello.Instance != first.hello.Instance {
			t.Errorf("the second: held %s, %+v", second.header.Get(wire.HeaderHeld), second.hello)
		}
		second.welcome(5)
		relay.noMoreLinks()
		if a.keeper.have() != 2 || a.keeper.want() != 2 {
			t.Errorf("has %d links, wants %d", a.keeper.have(), a.keeper.want())
		}
	})
}

func TestAReplicaThatIsHeldIsMetAgainWithinRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		var conflicts atomic.Int32
		relay.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			return r.Header.Get(wire.HeaderHeld) != "" && conflicts.Add(1) <= 20 && refuseWith(http.StatusConflict, "2")(w, r)
		}
		start(t, relay.network, nil)
		l := relay.link()
		l.welcome(2)
		l.stayAlive(2)
		<-relay.dials
		last := <-relay.dials
		for i := range 20 {
			next := <-relay.dials
			bound := 2 * time.Second
			if i >= patience {
				bound = min(backoffCap, bound<<(i+1-patience)) // it seems to be always the same one
			}
			if wait := next.Sub(last); wait > bound {
				t.Errorf("dial %d came after %v", i, wait)
			}
			last = next
		}
		relay.link().welcome(2)
	})
}

func TestDialsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.refuse = refuseWith(http.StatusBadGateway, "")
		start(t, relay.network, nil)
		bound, total := 500*time.Millisecond, time.Duration(0)
		last := <-relay.dials
		for range 40 {
			next := <-relay.dials
			if wait := next.Sub(last); wait > bound {
				t.Errorf("waited %v, which is over %v", wait, bound)
			}
			total += next.Sub(last)
			bound = min(2*bound, 30*time.Second)
			last = next
		}
		if total < 3*time.Minute { // 8.6 minutes on average
			t.Errorf("40 dials in %v", total)
		}
	})
}

func TestRetryAfterWins(t *testing.T) {
	for says, bound := range map[string]time.Duration{"100": 100 * time.Second, "1000000000": maxRetryAfter} {
		synctest.Test(t, func(t *testing.T) {
			relay := newFakeRelay(t)
			relay.refuse = refuseWith(http.StatusServiceUnavailable, says)
			start(t, relay.network, nil)
			last, longest := <-relay.dials, time.Duration(0)
			for range 30 {
				select {
				case next := <-relay.dials:
					longest = max(longest, next.Sub(last))
					last = next
				case <-time.After(bound + time.Second):
					t.Fatalf("told %s s: not back after %v", says, bound)
				}
			}
			if longest > bound || longest < bound/3 {
				t.Errorf("told %s s: the longest wait was %v", says, longest)
			}
		})
	}
}

func TestAfterAStableLinkItIsBackWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		l := relay.link()
		l.welcome(1)
		for range 3 {
			time.Sleep(5 * time.Second)
			l.ping(1)
		}
		<-relay.dials
		relay.refuse = refuseWith(http.StatusBadGateway, "")
		lost := time.Now()
		l.close(wire.CauseLost)
		l.conn.CloseNow()
		for last := lost; last.Sub(lost) < 4*time.Second; {
			next := <-relay.dials
			if wait := next.Sub(last); wait > time.Second {
				t.Errorf("waited %v, %v after the loss", wait, last.Sub(lost))
			}
			last = next
		}
	})
}

func TestYoungLinksThatAreLostBackOffToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		begin := time.Now()
		for i := range 20 {
			l := relay.link()
			l.welcome(1)
			if i%2 == 0 { // and draining is no way around it
				l.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(&wire.Drain{Cause: "shutdown"})})
			}
			synctest.Wait()
			l.close(wire.CauseDrained)
		}
		if took := time.Since(begin); took < 30*time.Second {
			t.Errorf("20 links in %v", took)
		}
	})
}

func TestWhoIsSupersededStaysAwayLong(t *testing.T) {
	for _, cause := range []wire.Cause{wire.CauseSuperseded, wire.CauseNameTaken} {
		synctest.Test(t, func(t *testing.T) {
			relay := newFakeRelay(t)
			start(t, relay.network, nil)
			first := relay.link()
			first.welcome(2)
			second := relay.link()
			second.welcome(2)
			time.Sleep(stable)
			for _, least := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 60 * time.Second, 60 * time.Second} {
				for _, l := range []*fakeLink{first, second} {
					if l != nil {
						l.close(cause)
					}
				}
				closed := time.Now()
				first, second = relay.link(), nil
				if away := time.Since(closed); away < least || away > 2*least {
					t.Errorf("%v: back after %v, not %v", cause, away, least)
				}
			}
			first.welcome(1) // the other has gone
			time.Sleep(stable)
			first.close(cause)
			closed := time.Now()
			relay.link()
			if away := time.Since(closed); away > 20*time.Second {
				t.Errorf("%v: of another duplicate, back after %v", cause, away)
			}
		})
	}
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

// reconnects are the lines of farscrape_agent_reconnects_total.
func reconnects(t *testing.T, a *Agent) string {
	t.Helper()
	return metricLines(t, a, "farscrape_agent_reconnects_total")
}

func metricLines(t *testing.T, a *Agent, name string) (lines string) {
	t.Helper()
	w := httptest.NewRecorder()
	a.endpoints().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, name) {
			lines += line
		}
	}
	return lines
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

func TestADrainedLinkServesUntilItsSuccessorIsRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, serve(t, text("up")))
		old := relay.link()
		welcome := old.welcome(1)
		time.Sleep(stable)
		relay.refuse = refuseWith(http.StatusServiceUnavailable, "300")
		old.ping(2) // it asks for a second link, and is told to wait
		synctest.Wait()
		relay.refuse = nil
		drained := time.Now()
		old.drain("max_age")
		next := relay.link()
		if wait := time.Since(drained); wait != 0 {
			t.Errorf("dialled after %v", wait)
		}
		if next.header.Get(wire.HeaderHeld) != string(welcome.Replica) {
			t.Errorf("held %q", next.header.Get(wire.HeaderHeld))
		}
		old.ping(1)
		next.welcome(1, func(w *wire.Welcome) { w.Registered, w.Epoch = false, 0 })
		synctest.Wait()
		if r := old.reply(old.request("app")); r.reason() != wire.OK {
			t.Errorf("while local only: %v", r.reason())
		}
		next.welcome(1)
		d, err := wire.ParseDrain(old.expect(wire.TypeDrain).Payload)
		if err != nil || d.Cause != "moved" {
			t.Errorf("said %+v, %v", d, err)
		}
		if r := old.reply(old.request("app")); r.reason() != wire.OK {
			t.Errorf("after it moved: %v", r.reason())
		}
		old.close(wire.CauseDrained)
		relay.noMoreLinks()
	})
}

func (l *fakeLink) drain(cause string) {
	l.t.Helper()
	l.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(&wire.Drain{Cause: cause})})
}

func TestAnOldLinkMovesToTheSameReplicaIfThereIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		old := relay.link()
		welcome := old.welcome(1)
		time.Sleep(stable)
		old.drain("max_age")
		next := relay.link()
		if held := next.header.Get(wire.HeaderHeld); held != "" || len(next.hello.Held) != 1 {
			t.Errorf("held replicas %q, links %v", held, next.hello.Held)
		}
		next.welcome(1, func(w *wire.Welcome) { w.Replica = welcome.Replica })
		old.expect(wire.TypeDrain)
	})
}

func TestWithoutAnotherReplicaADrainedLinkServesToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		var held atomic.Bool
		relay.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			return held.Load() && refuseWith(http.StatusConflict, "1")(w, r)
		}
		start(t, relay.network, serve(t, text("up")))
		l := relay.link()
		l.welcome(1)
		held.Store(true)
		l.drain("max_age")
		for range 10 {
			time.Sleep(5 * time.Second)
			if r := l.reply(l.request("app")); r.reason() != wire.OK {
				t.Errorf("got %v", r.reason())
			}
		}
		held.Store(false)
		l.close(wire.CauseDrainTimeout)
		closed := time.Now()
		relay.link().welcome(1)
		if gap := time.Since(closed); gap > time.Second {
			t.Errorf("back after %v", gap)
		}
	})
}

func TestOneOfTwoLinksDrainsWhileThereIsOneReplicaLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		first := relay.link()
		first.welcome(2)
		second := relay.link()
		second.welcome(2)
		synctest.Wait()
		relay.refuse = refuseWith(http.StatusConflict, "1")
		first.drain("shutdown")
		time.Sleep(time.Minute / 10)
		second.ping(1) // its replica is the only one that is left
		if d, err := wire.ParseDrain(first.expect(wire.TypeDrain).Payload); err != nil || d.Cause != "moved" {
			t.Errorf("said %+v, %v", d, err)
		}
	})
}

// The replica that is about to exit counts as alive until it has: it must not
// keep the link there until it is cut.
func TestTheLinkOfAReplicaThatExitsIsGivenUpForTheOneThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.Header.Get(wire.HeaderHeld), ",") && refuseWith(http.StatusConflict, "1")(w, r)
		}
		start(t, relay.network, nil)
		staying := relay.link()
		staying.welcome(2)
		exiting := relay.link()
		exiting.welcome(2)
		time.Sleep(stable)
		exiting.ping(2)
		staying.ping(2)
		exiting.drain("shutdown")
		if d, err := wire.ParseDrain(exiting.expect(wire.TypeDrain).Payload); err != nil || d.Cause != "moved" {
			t.Errorf("said %+v, %v", d, err)
		}
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
		if a.keeper.have() != 0 {
			t.Error("it counts as a link")
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

func TestAPongComesBeforeAllElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.backlog = 0
		start(t, relay.network, serve(t, text(strings.Repeat("x", 20*dataSize))))
		l := relay.link()
		l.welcome(1)
		l.request("app", func(q *wire.Request) { q.Credit, q.Remaining = wire.MaxWindow, time.Minute })
		synctest.Wait()
		ping := wire.Ping{Token: 42, Replicas: 1}.Append(nil)
		l.send(wire.Frame{Type: wire.TypePing, Payload: ping})
		synctest.Wait()
		for i := range 4 { // what is in the socket goes first
			message := <-l.frames
			if message[0].Type == wire.TypePong {
				if string(message[0].Payload) != string(ping) {
					t.Errorf("the payload is %x", message[0].Payload)
				}
				return
			}
			if i == 3 {
				t.Error("no PONG in four messages")
			}
		}
	})
}

func TestAReplicaThatReadsNothingDoesNotMakeTheQueueGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.backlog = 0
		a := start(t, relay.network, serve(t, text("up")))
		l := relay.link()
		l.welcome(1)
		for range 200 {
			var frames []byte
			for range 100 {
				frames = wire.Frame{Type: wire.TypeRequest, Scrape: wire.NewScrapeID(), Attempt: 1, Payload: []byte("bad")}.Append(frames)
			}
			if l.conn.Write(context.Background(), websocket.MessageBinary, frames) != nil {
				break
			}
		}
		go func() {
			for range l.frames { // the writer finds out once it can write again
			}
		}()
		<-l.closed
		close(l.frames)
		synctest.Wait()
		if got := reconnects(t, a); !strings.Contains(got, `cause="slow"} 1`) {
			t.Errorf("counted %s", got)
		}
	})
}

func TestWhenItStopsScrapesInFlightAreFinished(t *testing.T) {
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

func TestReadyMeansLinked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil)
		get := func(path string) int {
			w := httptest.NewRecorder()
			a.endpoints().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			return w.Code
		}
		l := relay.link()
		if get("/-/healthy") != 200 || get("/-/ready") != 503 {
			t.Errorf("before its welcome: healthy %d, ready %d", get("/-/healthy"), get("/-/ready"))
		}
		l.welcome(1)
		l.ping(1)
		synctest.Wait()
		if get("/-/ready") != 200 || get("/metrics") != 200 {
			t.Errorf("linked: ready %d, metrics %d", get("/-/ready"), get("/metrics"))
		}
		l.conn.CloseNow()
		synctest.Wait()
		if get("/-/ready") != 503 {
			t.Errorf("after the loss: ready %d", get("/-/ready"))
		}
	})
}

func TestRetryAfterIsBounded(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "x": 0, "5": 5 * time.Second, strconv.Itoa(1 << 40): maxRetryAfter, "99999999999999999999": 0,
	} {
		r := httptest.NewRecorder()
		r.Header().Set("Retry-After", in)
		if got := refusalOf(r.Result()).retryAfter; got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}
