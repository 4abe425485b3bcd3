package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// events are what the default tenant's journal has of an agent, "kind cause" each.
func (c *cluster) events(agent string) (told []string, all []wire.Event) {
	c.t.Helper()
	synctest.Wait()
	page, err := c.directory.EventsAfter(c.t.Context(), wire.DefaultTenant, wire.EventID{}, 1<<20)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, e := range page.Events {
		if err := e.Check(); err != nil {
			c.t.Error(err)
		}
		if e.Agent != agent {
			continue
		}
		all = append(all, e)
	}
	first := func(e wire.Event) int {
		return slices.IndexFunc(all, func(o wire.Event) bool { return o.Link == e.Link })
	}
	ofLinks := slices.Clone(all)
	slices.SortStableFunc(ofLinks, func(a, b wire.Event) int { return first(a) - first(b) }) // those of two may cross
	for _, e := range ofLinks {
		told = append(told, strings.TrimSpace(string(e.Kind)+" "+e.Cause))
	}
	return told, ofLinks
}

func (c *cluster) wantEvents(agent string, want ...string) []wire.Event {
	c.t.Helper()
	told, all := c.events(agent)
	if !slices.Equal(told, want) {
		c.t.Fatalf("the journal has of %s\n%q, want\n%q", agent, told, want)
	}
	return all
}

// Each thing that happens to an agent is told once, in its order.
func TestWhatHappensIsInTheJournal(t *testing.T) {
	moved := wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})}
	hour := func(c *cluster) string {
		text, _, err := c.keys.Current().Mint(token.Claims{Role: token.Agent, Name: "edge", Expires: time.Now().Add(time.Hour)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, scenario := range map[string]struct {
		happens func(t *testing.T, c *cluster, r *replica)
		want    []string
		detail  string // of the last that is not closed and has one
	}{
		"comes and goes": {func(t *testing.T, c *cluster, r *replica) {
			a := r.dial(dialOptions{})
			a.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "stopping"})})
			a.closedWith(wire.CauseAgentStopped)
		}, []string{"linked", "closed agent_stopped"}, ""},
		"falls silent": {func(t *testing.T, c *cluster, r *replica) {
			r.dial(dialOptions{}).silence()
			time.Sleep(time.Minute)
		}, []string{"linked", "closed timeout"}, ""},
		"is displaced": {func(t *testing.T, c *cluster, r *replica) {
			a := r.dial(dialOptions{})
			synctest.Wait()
			r.dial(dialOptions{})
			a.closedWith(wire.CauseSuperseded)
		}, []string{"linked", "conflict superseded", "closed superseded", "linked"}, "stop one of the two, or set FARSCRAPE_SHARED=true on both"},
		"has a name that is taken": {func(t *testing.T, c *cluster, r *replica) {
			r.dial(dialOptions{})
			synctest.Wait()
			a, _, err := r.tryDial(dialOptions{pattern: "e*"})
			if err != nil {
				t.Fatal(err)
			}
			a.closedWith(wire.CauseNameTaken)
		}, []string{"linked", "conflict name_taken"}, "give one of the two another FARSCRAPE_NAME"},
		"is moved by age": {func(t *testing.T, c *cluster, r *replica) {
			a := r.dial(dialOptions{})
			a.wantDrain("max_age", time.Hour)
			a.send(moved)
			a.closedWith(wire.CauseDrained)
		}, []string{"linked", "rotated max_age", "closed drained"}, ""},
		"loses its key": {func(t *testing.T, c *cluster, r *replica) {
			a := r.dial(dialOptions{})
			c.setKeys("n")
			a.closedWithAny(t)
		}, []string{"linked", "revoked key_removed", "closed revoked"}, ""},
		"has a token that is taken back": {func(t *testing.T, c *cluster, r *replica) {
			o := dialOptions{token: r.mint(token.Agent, "edge")}
			a := r.dial(o)
			r.revokes(ofAgent("edge"))
			a.closedWithAny(t)
			_, _, _ = r.tryDial(o)
		}, []string{"linked", "revoked token_revoked", "closed revoked", "refused unauthorized"}, "the token has been taken back: mint another"},
		"has a token that ends": {func(t *testing.T, c *cluster, r *replica) {
			o := dialOptions{token: hour(c)}
			r.dial(o)
			time.Sleep(time.Hour + time.Second)
			if _, _, err := r.tryDial(o); err == nil {
				t.Error("linked")
			}
		}, []string{"linked", "rotated max_age", "revoked token_expired", "closed revoked", "refused unauthorized"}, "mint another"},
		"declares others": {func(t *testing.T, c *cluster, r *replica) {
			a := r.dial(dialOptions{})
			frames, err := wire.MarshalTargets([]wire.Target{{Name: "node", Scheme: "http", Port: 9101, Path: "/metrics"}, {Name: "one"}, {Name: "two"}})
			if err != nil {
				t.Fatal(err)
			}
			a.send(frames...)
			a.send(frames...) // the same once more
		}, []string{"linked", "targets"}, "2 added, 1 removed, 1 changed"},
		"declares what is none": {func(t *testing.T, c *cluster, r *replica) {
			a := r.dial(dialOptions{})
			a.send(wire.Frame{Type: wire.TypeTargets, Payload: []byte(`{"targets":[{"name":"<secret>"}]}`)})
			a.closedWith(wire.CauseRefused)
		}, []string{"linked", "refused refused", "closed refused"}, "the agent's log says why"},
		"declares too much": {func(t *testing.T, c *cluster, r *replica) {
			a, _, err := r.tryDial(dialOptions{targets: make([]wire.Target, 20)})
			if err != nil {
				t.Fatal(err)
			}
			a.closedWith(wire.CauseRefused)
		}, []string{"refused refused"}, "FARSCRAPE_AGENT_MAX_TARGETS is 10"},
		"wants another's name": {func(t *testing.T, c *cluster, r *replica) {
			_, _, _ = r.tryDial(dialOptions{name: "other", token: r.mint(token.Agent, "edge")})
			_, _, _ = r.tryDial(dialOptions{name: "edge", token: r.mint(token.Agent, "other-*")}) // says nothing of edge
			_, _, _ = r.tryDial(dialOptions{name: "edge", token: "garbage"})
			c.wantEvents("other")
		}, []string{"refused forbidden"}, `the token is for "edge", and does not allow the name "other"`},
		"wants what is no name": {func(t *testing.T, c *cluster, r *replica) {
			_, _, _ = r.tryDial(dialOptions{name: "<secret>", token: r.mint(token.Agent, "edge")})
		}, []string{"refused bad_request"}, "is none"},
		"meets a replica that it holds": {func(t *testing.T, c *cluster, r *replica) {
			_, _, _ = r.tryDial(dialOptions{held: string(r.Replica)})
		}, nil, ""},
		"says that it was revoked": {func(t *testing.T, c *cluster, r *replica) {
			_ = r.dial(dialOptions{}).conn.Close(4007, "")
		}, []string{"linked", "closed revoked"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1, func(c *relay.Config) {
					c.LinkMaxAge, c.TargetLimits.Targets = 50*time.Minute, 10
				})
				r := c.replicas[0]
				scenario.happens(t, c, r)
				detail := ""
				for _, e := range c.wantEvents("edge", scenario.want...) {
					if e.Kind != wire.EventClosed && e.Detail != "" {
						detail = e.Detail
					}
					if e.Replica != r.Replica || e.Time.IsZero() || (e.Kind != wire.EventRefused && (e.Link == "" || e.Instance == "")) {
						t.Errorf("%+v", e)
					}
				}
				if !strings.Contains(detail, scenario.detail) || strings.Contains(detail, "secret") {
					t.Errorf("it says %q, want %q", detail, scenario.detail)
				}
			})
		})
	}
}

// closedWithAny waits for the link to close.
func (a *agent) closedWithAny(t *testing.T) {
	t.Helper()
	for range a.frames { // what it is told before
	}
	<-a.closed
}

// An agent that comes and goes has its share of the journal, which says how much was
// left out, and takes nothing of others'.
func TestAnAgentThatFlapsHasItsShareOfTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		for range 600 {
			if a, _, err := r.tryDial(dialOptions{name: "hostile"}); err == nil {
				_ = a.conn.CloseNow()
			}
			time.Sleep(time.Second)
		}
		r.dial(dialOptions{name: "neighbour"})
		c.wantEvents("neighbour", "linked")
		time.Sleep(time.Minute)
		told, all := c.events("hostile")
		if n := len(told); n < 12 || n > 30 {
			t.Errorf("%d events in ten minutes", n)
		}
		leftOut := 0
		for _, e := range all {
			if e.Kind == wire.EventLeftOut {
				_, _ = fmt.Sscan(e.Detail, &leftOut)
			}
		}
		if leftOut < 500 {
			t.Errorf("%d were left out: %q", leftOut, told)
		}
	})
}
