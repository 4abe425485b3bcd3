package relay_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

func TestAgentsAreRefusedBeforeTheUpgrade(t *testing.T) {
	c := newCluster(t, 1, func(c *relay.Config) { c.OwnHosts = wire.NewHosts("relay.example.com") })
	r := c.replicas[0]
	expired, _, err := c.keys.Current().Mint(token.Claims{Role: token.Agent, Name: "edge", Expires: time.Now().Add(-time.Hour)}, time.Now().Add(-2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]struct {
		dialOptions
		status int
		reason wire.Reason
	}{
		"garbage":              {dialOptions{token: "garbage"}, 401, wire.Unauthorized},
		"expired":              {dialOptions{token: expired}, 401, wire.Unauthorized},
		"a scraper's token":    {dialOptions{token: r.mint(token.Scraper, "prometheus")}, 403, wire.Forbidden},
		"a token for another":  {dialOptions{token: r.mint(token.Agent, "other")}, 403, wire.Forbidden},
		"outside the pattern":  {dialOptions{pattern: "core-*"}, 403, wire.Forbidden},
		"the relay's own name": {dialOptions{name: "relay.example.com"}, 403, wire.Forbidden},
		"an IP address":        {dialOptions{name: "10.0.0.1", pattern: "*"}, 400, wire.BadRequest},
		"no DNS name":          {dialOptions{name: "a/b", pattern: "*"}, 400, wire.BadRequest},
		"held already":         {dialOptions{held: "x," + string(r.Replica)}, 409, wire.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			_, resp, err := r.tryDial(o.dialOptions)
			if err == nil {
				t.Fatal("it is taken")
			}
			if resp == nil || resp.StatusCode != o.status || resp.Header.Get(wire.HeaderError) != o.reason.String() {
				t.Errorf("got %+v, want %d %s", resp, o.status, o.reason)
			}
			if o.status == 409 && resp.Header.Get("Retry-After") != "1" {
				t.Error("no word of when to come back")
			}
		})
	}
}

func TestAnAgentsLinksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		first := r.dial(dialOptions{shared: true})
		for range 15 {
			time.Sleep(time.Second / 3)
			r.dial(dialOptions{shared: true})
		}
		time.Sleep(time.Second)
		if _, resp, err := r.tryDial(dialOptions{shared: true}); err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("the 17th is answered %v, %v", resp, err)
		}
		r.dial(dialOptions{name: "other"})
		first.serve("x")
		wantBody(t, <-r.scrape(time.Second), "x")
	})
}

func TestALinkThatIsCutIsToldWhy(t *testing.T) {
	r := newCluster(t, 1).replicas[0]
	a := r.dial(dialOptions{})
	r.end()
	a.closedWith(wire.CauseDrainTimeout)
}

func TestAnotherVersionIsRefusedWithAReason(t *testing.T) {
	r := newCluster(t, 1).replicas[0]
	req, _ := http.NewRequest("GET", wire.ConnectPath, nil)
	req.Header = http.Header{"Authorization": {"Bearer " + r.mint(token.Agent, "edge")}, wire.HeaderAgent: {"edge"}, "Sec-Websocket-Protocol": {"farscrape.v9"}}
	w := &recorder{header: http.Header{}}
	r.Connect(w, req)
	if w.status != http.StatusUpgradeRequired || !strings.Contains(w.body.String(), wire.Subprotocol) {
		t.Errorf("%d %q", w.status, w.body.String())
	}
}

func TestAnUpgradeThatIsNoneIsRefusedWithAReason(t *testing.T) {
	r := newCluster(t, 1).replicas[0]
	req, _ := http.NewRequest("GET", wire.ConnectPath, nil)
	req.Header = http.Header{"Authorization": {"Bearer " + r.mint(token.Agent, "edge")}, wire.HeaderAgent: {"edge"}, "Sec-Websocket-Protocol": {wire.Subprotocol}}
	w := &recorder{header: http.Header{}}
	r.Connect(w, req)
	if w.status < 400 || w.header.Get(wire.HeaderError) != "bad_request" {
		t.Errorf("%d %v", w.status, w.header)
	}
}

type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }

func TestWhatBreaksTheProtocolClosesTheLink(t *testing.T) {
	for name, c := range map[string]struct {
		message []byte
		cause   wire.Cause
	}{
		"not frames":        {[]byte("hello"), wire.CauseProtocol},
		"unknown frame":     {wire.Frame{Type: 99}.Append(nil), wire.CauseProtocol},
		"a relay's frame":   {wire.Frame{Type: wire.TypeWelcome}.Append(nil), wire.CauseProtocol},
		"a bad target list": {wire.Frame{Type: wire.TypeTargets, Payload: []byte(`{"targets":[{"name":"a","labels":{"a-b":"c"}}]}`)}.Append(nil), wire.CauseRefused},
	} {
		t.Run(name, func(t *testing.T) {
			a := newCluster(t, 1).replicas[0].dial(dialOptions{})
			_ = a.conn.Write(context.Background(), websocket.MessageBinary, c.message)
			a.closedWith(c.cause)
		})
	}
	t.Run("a frame from later is ignored", func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		a := r.dial(dialOptions{})
		a.send(wire.Frame{Type: 200, Payload: []byte("new")})
		a.serve("x")
		wantBody(t, <-r.scrape(time.Second), "x")
	})
}

func TestAListOverALimitClosesTheLinkAndSaysWhich(t *testing.T) {
	limits := func(c *relay.Config) { c.TargetLimits = wire.TargetLimits{Targets: 10, Labels: 3, Bytes: 1000} }
	many := make([]wire.Target, 11)
	for i := range many {
		many[i].Name = fmt.Sprint(i)
	}
	for want, targets := range map[string][]wire.Target{
		"11 targets; FARSCRAPE_AGENT_MAX_TARGETS is 10":            many,
		"4 labels; FARSCRAPE_AGENT_MAX_LABELS is 3":                {{Name: "a", Labels: map[string]string{"a": "", "b": "", "c": "", "d": ""}}},
		"1035 bytes of targets; FARSCRAPE_AGENT_MAX_BYTES is 1000": {{Name: "a", Path: "/" + strings.Repeat("x", 998)}},
		`target a: label name "€": must match`:                     {{Name: "a", Labels: map[string]string{"€": ""}}},
	} {
		t.Run(want, func(t *testing.T) {
			r := newCluster(t, 1, limits).replicas[0]
			check := func(a *agent) {
				t.Helper()
				a.closedWith(wire.CauseRefused)
				if got := wire.CloseDetail(a.reason); !strings.HasPrefix(got, want) {
					t.Errorf("closed with %q", a.reason)
				}
			}
			a, _, err := r.tryDial(dialOptions{targets: targets})
			if err != nil {
				t.Fatal(err)
			}
			check(a)
			a = r.dial(dialOptions{})
			frames, err := wire.MarshalTargets(targets)
			if err != nil {
				t.Fatal(err)
			}
			a.send(frames...)
			check(a)
		})
	}
}

// full is a directory whose tenant is full.
type full struct{ counted }

var errFull = &wire.LimitError{What: "agents of tenant default", Value: 11, Limit: 10, Setting: "FARSCRAPE_TENANT_MAX_AGENTS"}

func (full) Register(context.Context, wire.Lease) (uint64, error) {
	return 0, fmt.Errorf("register: %w", errFull)
}

func TestWhatTheDirectoryDoesNotTakeIsToldToTheAgent(t *testing.T) {
	check := func(t *testing.T, a *agent) {
		t.Helper()
		a.closedWith(wire.CauseRefused)
		if got := wire.CloseDetail(a.reason); !strings.Contains(got, errFull.Error()) {
			t.Errorf("closed with %q", a.reason)
		}
	}
	t.Run("when it links", func(t *testing.T) {
		r := newCluster(t, 1, func(c *relay.Config) { c.Directory = full{c.Directory.(counted)} }).replicas[0]
		a, _, err := r.tryDial(dialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, a)
	})
	t.Run("while it is linked", func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		a := r.dial(dialOptions{})
		r.Events().Lost(a.welcome.Link, errFull)
		check(t, a)
	})
}

func TestTargetsMayChangeWhileLinked(t *testing.T) {
	both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		added := func(s *wire.Scrape) { s.Target = "added" }
		wantReason(t, <-edge.scrape(time.Second, added), wire.TargetNotDeclared)
		frames, _ := wire.MarshalTargets([]wire.Target{{Name: "added"}})
		a.send(frames...)
		a.serve("x")
		deadline := time.Now().Add(5 * time.Second)
		for {
			got := <-edge.scrape(time.Second, added)
			if got.err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(got.err)
			}
		}
		wantReason(t, <-edge.scrape(time.Second), wire.TargetNotDeclared) // the old one
	})
}

func TestASilentPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		a := r.dial(dialOptions{})
		time.Sleep(time.Minute) // it answers, so it stays
		a.silence()
		start := time.Now()
		<-a.closed
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("noticed after %s", took)
		}
	})
}

func TestALinkIsMovedByAge(t *testing.T) {
	for name, c := range map[string]struct{ cut, least, most time.Duration }{
		"FARSCRAPE_LINK_MAX_AGE":     {0, 9 * time.Minute, 10 * time.Minute},
		"that of a platform's cut":   {5 * time.Minute, 4 * time.Minute, 270 * time.Second},
		"and whichever comes sooner": {time.Hour, 9 * time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCluster(t, 1, func(c *relay.Config) { c.LinkMaxAge = 10 * time.Minute }).replicas[0]
				a := r.dial(dialOptions{cutAfter: c.cut})
				start := time.Now()
				a.wantDrain("max_age", 20*time.Minute)
				if took := time.Since(start); took < c.least-time.Second || took > c.most+time.Second {
					t.Errorf("told after %s", took)
				}
			})
		})
	}
}

func TestLinksAreGivenAwayUntilEveryReplicaHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		var agents []*agent
		for i := range 20 { // none on the third, which was away
			a := c.replicas[i%2].dial(dialOptions{name: fmt.Sprintf("edge%d", i)})
			agents = append(agents, a)
		}
		moved := make([]int, 3)
		for began := time.Now(); time.Since(began) < 5*time.Minute; time.Sleep(time.Second) {
			for i, a := range agents {
				select {
				case f := <-a.frames:
					d, err := wire.ParseDrain(f.Payload)
					if err != nil || d.Cause != "balance" {
						t.Fatalf("%v %+v, %v", f.Type, d, err)
					}
					moved[i%2]++
					next := c.replicas[2].dial(dialOptions{name: fmt.Sprintf("edge%d", i), instance: a.instance, epoch: a.welcome.Epoch})
					a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})})
					a.closedWith(wire.CauseDrained)
					agents[i] = next
				default:
				}
			}
		}
		if fmt.Sprint(moved) != "[3 3 0]" { // 7 are a share, and a tenth more is none
			t.Errorf("%v were given away", moved)
		}
	})
}

func (a *agent) wantDrain(cause string, within time.Duration) {
	a.t.Helper()
	select {
	case f := <-a.frames:
		d, err := wire.ParseDrain(f.Payload)
		if f.Type != wire.TypeDrain || err != nil || d.Cause != cause {
			a.t.Errorf("got %v %+v, %v", f.Type, d, err)
		}
	case <-time.After(within):
		a.t.Fatal("no DRAIN came")
	}
}

func TestALinkClosesWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		now := time.Now()
		short, _, err := c.keys.Current().Mint(token.Claims{Role: token.Agent, Name: "edge", Expires: now.Add(time.Minute)}, now)
		if err != nil {
			t.Fatal(err)
		}
		a := c.replicas[0].dial(dialOptions{token: short})
		a.closedWith(wire.CauseRevoked)
		if took := time.Since(now); took > 62*time.Second {
			t.Errorf("closed after %s", took)
		}
	})
}

func TestTwoProcessesWithOneName(t *testing.T) {
	t.Run("the younger wins, on whichever replica", func(t *testing.T) {
		c := newCluster(t, 2)
		old := c.replicas[0].dial(dialOptions{})
		young := c.replicas[1].dial(dialOptions{})
		old.closedWith(wire.CauseSuperseded)
		young.serve("young")
		for _, r := range c.replicas {
			wantBody(t, <-r.scrape(time.Second), "young")
		}
		_, _, _ = c.replicas[0].tryDial(dialOptions{instance: old.instance, epoch: old.welcome.Epoch})
		wantBody(t, <-c.replicas[0].scrape(time.Second), "young")
	})
	t.Run("a pattern's token displaces nobody", func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		first := r.dial(dialOptions{})
		second, _, err := r.tryDial(dialOptions{pattern: "ed*"})
		if err != nil {
			t.Fatal(err)
		}
		second.closedWith(wire.CauseNameTaken)
		first.serve("first")
		wantBody(t, <-r.scrape(time.Second), "first")
	})
	t.Run("shared, the lowest epoch that declares the target is asked", func(t *testing.T) {
		c := newCluster(t, 2)
		standby := []wire.Target{{Name: "node"}, {Name: "extra"}}
		first := c.replicas[0].dial(dialOptions{shared: true})
		c.replicas[1].dial(dialOptions{shared: true, targets: standby}).serve("second")
		first.serve("first")
		for _, r := range c.replicas {
			for range 5 {
				wantBody(t, <-r.scrape(time.Second), "first")
			}
			wantBody(t, <-r.scrape(time.Second, func(s *wire.Scrape) { s.Target = "extra" }), "second")
		}
		_ = first.conn.CloseNow()
		for _, r := range c.replicas {
			wantBody(t, <-r.scrape(time.Second), "second")
		}
	})
}

func TestDrainLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		leaving, staying := c.replicas[0], c.replicas[1]
		a := leaving.dial(dialOptions{})
		inFlight := leaving.scrape(10 * time.Second)
		held, _ := a.request()
		a.send(reply(held, wire.TypeAck, nil))

		start := time.Now()
		drained := make(chan struct{})
		go func() { leaving.Drain(context.Background()); close(drained) }()
		a.wantDrain("shutdown", time.Second)
		if leaving.Ready() || !leaving.Draining() || leaving.Refusing() {
			t.Error("draining, a replica is unready and answers")
		}
		if _, resp, err := leaving.tryDial(dialOptions{}); err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a draining replica answers an agent %v", resp)
		}
		b := staying.dial(dialOptions{instance: a.instance, epoch: a.welcome.Epoch, held: string(leaving.Replica)})
		b.serve("from the new link")
		a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})})
		time.Sleep(time.Second)
		for _, r := range c.replicas {
			wantBody(t, <-r.scrape(time.Second), "from the new link")
		}
		a.answer(held, "from the old one")
		wantBody(t, <-inFlight, "from the old one")
		a.closedWith(wire.CauseDrained)
		<-drained
		if took := time.Since(start); took > 8*time.Second || !leaving.Refusing() {
			t.Errorf("drained in %s, refusing %v", took, leaving.Refusing())
		}
	})
}

func TestAReplicaThatIsAloneWaitsOnlyForItsScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		a := r.dial(dialOptions{})
		done := r.scrape(10 * time.Second)
		f, _ := a.request()
		a.send(reply(f, wire.TypeAck, nil))
		start := time.Now()
		drained := make(chan struct{})
		go func() { r.Drain(context.Background()); close(drained) }()
		time.Sleep(time.Second)
		a.answer(f, "x")
		wantBody(t, <-done, "x")
		<-drained
		if took := time.Since(start); took > 1100*time.Millisecond {
			t.Errorf("drained in %s", took)
		}
	})
}

// TestAReplicaServesBeforeItIsReady: only load balancers wait for its store.
func TestAReplicaServesBeforeItIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := make(chan struct{})
		r := newCluster(t, 1, func(conf *relay.Config) { conf.StoreUp = up }).replicas[0]
		a := r.dial(dialOptions{})
		a.serve("x")
		wantBody(t, <-r.scrape(time.Second), "x")
		time.Sleep(time.Hour) // and links are kept alive
		if r.Ready() {
			t.Error("ready before its store")
		}
		wantBody(t, <-r.scrape(time.Second), "x")
		close(up)
		synctest.Wait()
		if !r.Ready() {
			t.Error("not ready after it")
		}
	})
}

func TestAReplicaDrainsBeforeItIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 2, func(conf *relay.Config) { conf.StoreUp = make(chan struct{}) }).replicas[0]
		a := r.dial(dialOptions{})
		drained := make(chan struct{})
		go func() { r.Drain(context.Background()); close(drained) }()
		a.wantDrain("shutdown", time.Second)
		<-drained
	})
}

// ignorant is a directory that cannot say who else there is.
type ignorant struct{ counted }

func (ignorant) Replicas() int              { return 1 }
func (ignorant) Alone(context.Context) bool { return false }

func TestAReplicaThatDoesNotKnowWhetherItIsAloneMovesItsLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, func(conf *relay.Config) { conf.Directory = ignorant{conf.Directory.(counted)} })
		a := c.replicas[0].dial(dialOptions{})
		drained := make(chan struct{})
		go func() { c.replicas[0].Drain(context.Background()); close(drained) }()
		a.wantDrain("shutdown", time.Second)
		<-drained
	})
}

func TestManyLinksLeaveNothingBehind(t *testing.T) {
	r := newCluster(t, 1).replicas[0]
	for range 50 {
		a := r.dial(dialOptions{name: "x" + string(wire.NewID[wire.LinkID]()) + "x"})
		_ = a.conn.CloseNow()
	}
	// TestMain counts the goroutines.
}

// Frames from Redis and from agents are hostile here: nothing may panic, and
// the replica must go on serving.
func FuzzHostileFrames(f *testing.F) {
	q := wire.Request{Link: "0123456789abcdef", Tenant: "default", Agent: "edge", Target: "node"}
	f.Add(wire.Frame{Type: wire.TypeRequest, Attempt: 1, Scrape: 1, Payload: q.Append(nil)}.Append(nil))
	f.Add(wire.Frame{Type: wire.TypeCredit, Attempt: 1, Scrape: 1, Payload: wire.AppendCredit(nil, 1<<31)}.Append(nil))
	f.Add(wire.Frame{Type: wire.TypeEnd, Attempt: 1, Scrape: 1, Payload: wire.End{}.Append(nil)}.Append(nil))
	f.Fuzz(func(t *testing.T, frames []byte) {
		r := newCluster(t, 1).replicas[0]
		r.Events().Frames("fedcba9876543210", frames)
		a := r.dial(dialOptions{})
		_ = a.conn.Write(context.Background(), websocket.MessageBinary, frames[:min(len(frames), wire.MaxMessage)])
		b := r.dial(dialOptions{name: "other"})
		b.serve("x")
		wantBody(t, <-r.scrape(5*time.Second, func(s *wire.Scrape) { s.Agent = "other" }), "x")
	})
}

// deaf makes the agent read nothing more, and returns when the replica has
// something to write to it.
func (a *agent) deaf(r *replica) {
	_ = a.socket.SetReadDeadline(time.Now()) // ends the one read
	<-a.closed
	r.scrape(time.Second)
	time.Sleep(time.Millisecond)
}

func TestNoWriteToAnAgentWaitsForEver(t *testing.T) {
	for name, end := range map[string]func(a *agent){
		"while the link is up":  func(*agent) {},
		"when the link is over": func(a *agent) { a.send(wire.Frame{Type: wire.TypeWelcome}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCluster(t, 1).replicas[0]
				a := r.dial(dialOptions{})
				a.deaf(r)
				start := time.Now()
				end(a)
				for err := error(nil); err == nil; time.Sleep(time.Second) {
					_, err = a.socket.Write([]byte{0x82, 0x80, 0, 0, 0, 0}) // it lives
				}
				if took := time.Since(start); took > 16*time.Second {
					t.Errorf("the link was closed after %s", took)
				}
			})
		})
	}
}
