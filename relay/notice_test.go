package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/wire"
)

func declaring(name, address string) wire.Target {
	return wire.Target{Name: name, Scheme: "http", Port: 9100, Path: "/metrics", Address: address}
}

// A second agent declares the first one's address, and stays when that has gone:
// Prometheus sends credentials for the first one's target there. It is told, and
// its other targets work.
func TestNobodySquatsOnAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, func(c *relay.Config) { c.OwnHosts = wire.NewHosts("relay.internal") })
		proxy := func(host string) chan result {
			return c.replicas[1].scrape(5*time.Second, func(s *wire.Scrape) { s.Agent, s.Target, s.Host, s.Path = "", "", host, "/metrics" })
		}
		victim := c.replicas[0].dial(dialOptions{name: "victim", targets: []wire.Target{declaring("db", "db.internal:7500"), declaring("node", "")}})
		victim.serve("the victim's")
		time.Sleep(5 * time.Second)
		squatter := c.replicas[0].dial(dialOptions{name: "squatter", targets: []wire.Target{
			declaring("db", "db.internal:7500"), declaring("name", "victim:9100"), declaring("relay", "Relay.internal:8080"), declaring("own", "own.internal:1"),
		}})
		squatter.serve("the squatter's")
		time.Sleep(5 * time.Second)
		n := squatter.notice()
		if len(n.Refused) != 3 || n.More != 0 {
			t.Fatalf("the squatter is told %+v", n)
		}
		for i, want := range []wire.RefusedAddress{
			{Target: "db", Address: "db.internal:7500", Why: wire.AddressTaken.Why()},
			{Target: "name", Address: "victim:9100", Why: wire.AddressTaken.Why()},
			{Target: "relay", Address: "relay.internal:8080", Why: wire.AddressOwn.Why()},
		} {
			if n.Refused[i] != want {
				t.Errorf("refused %+v, want %+v", n.Refused[i], want)
			}
		}
		for _, host := range []string{"db.internal:7500", "victim:9100"} {
			wantBody(t, <-proxy(host), "the victim's")
		}
		victim.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "stopping"})})
		victim.closedWith(wire.CauseAgentStopped)
		for range 3 {
			time.Sleep(15 * time.Second)
			for _, host := range []string{"db.internal:7500", "victim:9100"} {
				wantReason(t, <-proxy(host), wire.AgentOffline)
			}
		}
		wantBody(t, <-proxy("own.internal:1"), "the squatter's")
		if failure := c.replicas[1].Forget(t.Context(), wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "victim"}); failure != nil {
			t.Fatal(failure)
		}
		time.Sleep(5 * time.Second)
		wantBody(t, <-proxy("db.internal:7500"), "the squatter's")
		time.Sleep(time.Minute)
		if n := squatter.notice(); len(n.Refused) != 1 || n.Refused[0].Why != wire.AddressOwn.Why() {
			t.Errorf("the squatter is told %+v when the victim is forgotten", n)
		}
	})
}

// An address as long as a target list has room for would make a NOTICE that no
// message holds, which ended the process.
func TestALongAddressEndsOnlyItsAgentsLink(t *testing.T) {
	long := strings.Repeat("a.", 15<<10)
	for name, address := range map[string]string{
		"host": long + "localhost:80",
		"port": "localhost:" + strings.Repeat("0", 30<<10) + "80",
		"zone": "[::1%" + strings.Repeat("a", 30<<10) + "]:80",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1, func(c *relay.Config) { c.OwnHosts = wire.NewHosts("localhost", "::1%"+strings.Repeat("a", 30<<10)) })
				a, _, err := c.replicas[0].tryDial(dialOptions{name: "long", targets: []wire.Target{declaring("a", address), declaring("b", address), declaring("c", address)}})
				if err != nil {
					t.Fatal(err)
				}
				a.closedWith(wire.CauseRefused)
			})
		})
	}
}

// A token that is bound to addresses goes before whoever came earlier.
func TestATokenBoundToAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		r.dial(dialOptions{name: "early", targets: []wire.Target{declaring("db", "10.1.2.3:9100")}}).serve("the early one's")
		time.Sleep(time.Minute)
		r.dial(dialOptions{name: "bound", addresses: "10.1.*:*", targets: []wire.Target{declaring("db", "10.1.2.3:9100"), declaring("other", "10.2.2.3:9100")}}).serve("its own")
		time.Sleep(5 * time.Second)
		proxy := func(host string) chan result {
			return r.scrape(5*time.Second, func(s *wire.Scrape) { s.Agent, s.Target, s.Host, s.Path = "", "", host, "/metrics" })
		}
		wantBody(t, <-proxy("10.1.2.3:9100"), "its own")
		wantReason(t, <-proxy("10.2.2.3:9100"), wire.AgentUnknown)
	})
}

// Of two that declare an address at the same time none is asked, and who may see
// only one of them gets that one.
func TestAmbiguityKeepsToTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		for _, name := range []string{"a", "b"} {
			r.dial(dialOptions{name: name, targets: []wire.Target{declaring("db", "db:1")}}).serve(name + "'s")
		}
		for allow, want := range map[string]wire.Reason{"": wire.TargetAmbiguous, "?": wire.TargetAmbiguous, "c*": wire.AgentUnknown, "a": wire.OK} {
			got := <-r.scrape(5*time.Second, func(s *wire.Scrape) {
				s.Agent, s.Target, s.Host, s.Path, s.Allow = "", "", "db:1", "/metrics", allow
			})
			if want == wire.OK {
				wantBody(t, got, "a's")
			} else {
				wantReason(t, got, want)
			}
		}
	})
}

// Tenants do not know of each other's addresses, and each is told of its own.
func TestEachTenantIsToldOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		for i, tenant := range []string{"one", "two"} {
			taken := declaring("db", fmt.Sprintf("db%d:1", i))
			r.dial(dialOptions{tenant: tenant, name: "first", targets: []wire.Target{taken}})
			time.Sleep(5 * time.Second)
			second := dialOptions{tenant: tenant, name: "second", targets: []wire.Target{taken}, shared: true}
			for _, a := range []*agent{r.dial(second), r.dial(second)} {
				if n := a.notice(); len(n.Refused) != 1 || n.Refused[0].Address != taken.Address {
					t.Errorf("tenant %s is told %+v", tenant, n)
				}
			}
		}
	})
}
