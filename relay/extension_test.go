package relay_test

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/farscrape/farscrape/relay/wire"
)

// fromAnother sends the owner a request as another replica's edge would, and returns
// what the agent gets and what comes back over the bus.
func (c *cluster) fromAnother(owner *replica, a *agent, extensions wire.Extensions) (asked wire.Frame, answers func() []wire.Frame) {
	q := wire.Request{
		Remaining: wire.MaxTimeout, Credit: wire.BusWindow, Link: a.welcome.Link,
		Tenant: wire.DefaultTenant, Agent: "edge", Target: "node", Extensions: extensions,
	}
	var back []wire.Frame
	owner.bus.mu.Lock()
	owner.bus.drop = func(_ wire.ReplicaID, f wire.Frame) bool {
		f.Payload = bytes.Clone(f.Payload)
		back = append(back, f)
		return true
	}
	owner.bus.mu.Unlock()
	k := wire.AttemptKey{Scrape: 7, Attempt: 1}
	sent := k.Frame(wire.TypeRequest, q.Append(nil))
	owner.Events().Frames(c.replicas[1].Replica, sent.Append(nil))
	asked = a.next(wire.TypeRequest)
	if !bytes.Equal(asked.Payload, sent.Payload) {
		c.t.Errorf("the agent gets %q of %q", asked.Payload, sent.Payload)
	}
	return asked, func() []wire.Frame {
		synctest.Wait()
		owner.bus.mu.Lock()
		defer owner.bus.mu.Unlock()
		return back
	}
}

// What an owner does not know reaches the agent, and what comes back the edge.
func TestExtensionsPassAnOwnerThatDoesNotKnowThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		a := c.replicas[0].dial(dialOptions{})
		f, answers := c.fromAnother(c.replicas[0], a, wire.Extensions(nil).With(4711, []byte("new")))
		h := wire.Head{Status: 200, Extensions: wire.Extensions(nil).With(4712, []byte("newer"))}
		e := wire.End{Extensions: wire.Extensions(nil).With(4713, nil)}
		want := [][]byte{h.Append(nil), e.Append(nil)}
		a.send(reply(f, wire.TypeHead, want[0]), reply(f, wire.TypeEnd, want[1]))
		got := answers()
		if len(got) != 2 || !bytes.Equal(got[0].Payload, want[0]) || !bytes.Equal(got[1].Payload, want[1]) {
			t.Errorf("%q came back, want %q", got, want)
		}
	})
}

// A reason that came later would be a bug of ours to an edge that does not know it.
func TestAnEdgeGetsNoReasonThatItDoesNotKnow(t *testing.T) {
	for name, row := range map[string]struct {
		extensions wire.Extensions
		want       wire.Reason
	}{
		"an older edge": {nil, wire.Internal},
		"one that knows": {
			wire.Extensions(nil).With(wire.ExtensionReasons, []byte{byte(wire.AgentProtocol)}), wire.AgentProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 2)
				a := c.replicas[0].dial(dialOptions{})
				f, answers := c.fromAnother(c.replicas[0], a, row.extensions)
				a.send(end(f, nil)) // without HEAD
				got := answers()
				if len(got) != 1 {
					t.Fatalf("%q came back", got)
				}
				e, err := wire.ParseEnd(got[0].Payload)
				if err != nil || e.Failure == nil || e.Failure.Reason != row.want {
					t.Errorf("the edge gets %v, %v; want %s", e.Failure, err, row.want)
				}
			})
		})
	}
}

func TestWhatAnAgentCanDoIsInTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		a := c.replicas[0].dial(dialOptions{features: []string{wire.FeatureExtensions, "later"}})
		agent, err := c.directory.Lookup(t.Context(), wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge"})
		if err != nil || len(agent.Links) != 1 || len(agent.Links[0].Features) != 2 {
			t.Errorf("%+v, %v", agent, err)
		}
		if len(a.welcome.Features) == 0 {
			t.Error("the replica lists no features")
		}
	})
}
