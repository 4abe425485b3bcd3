package relay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/link"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

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

func (full) Register(context.Context, wire.Entry) (uint64, error) {
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
				const every = 100 * time.Millisecond
				for err := error(nil); err == nil; time.Sleep(every) {
					_, err = a.socket.Write([]byte{0x82, 0x80, 0, 0, 0, 0}) // it lives
				}
				if took := time.Since(start); took > wire.PeerTimeout+link.Tick+2*every {
					t.Errorf("the link was closed after %s", took)
				}
			})
		})
	}
}
