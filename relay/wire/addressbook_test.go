package wire_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// at is a moment in seconds.
func at(s float64) time.Time { return time.UnixMilli(int64(s * 1000)) }

// listed is an agent since then, with addresses declared since then; a name with
// a pattern after a blank has a token bound to it.
func listed(name string, since time.Time, addresses map[string]time.Time) wire.Agent {
	name, bound, _ := strings.Cut(name, " ")
	a := wire.Agent{AgentKey: wire.AgentKey{Tenant: "t", Agent: name}, Since: since, Claims: addresses}
	a.Last.Addresses = bound
	targets := []wire.Target{{Name: "node", Port: 9100, Path: "/"}}
	for address := range addresses {
		targets = append(targets, wire.Target{Name: "t" + address[:1], Address: address, Path: "/"})
	}
	a.Last.List = wire.NewTargetList(targets)
	return a
}

type addresses = map[string]time.Time

// Who squats on a name or an address gets none of its scrapes, whoever is linked.
func TestTheEarlierClaimStands(t *testing.T) {
	for name, test := range map[string]struct {
		agents  []wire.Agent
		address string
		want    string // names of holders
	}{
		"a name":                        {[]wire.Agent{listed("edge", at(5), nil)}, "edge:9100", "edge"},
		"nobody":                        {[]wire.Agent{listed("edge", at(5), nil)}, "core:9100", ""},
		"an address of a name":          {[]wire.Agent{listed("edge", at(5), nil), listed("evil", at(1), addresses{"edge:9100": at(9)})}, "edge:9100", "edge"},
		"another port of that name":     {[]wire.Agent{listed("edge", at(5), nil), listed("evil", at(1), addresses{"edge:9100": at(2)})}, "edge:9200", "edge"},
		"a name that is an address":     {[]wire.Agent{listed("db", at(9), nil), listed("site", at(1), addresses{"db:9100": at(5)})}, "db:9100", "site"},
		"an address twice":              {[]wire.Agent{listed("late", at(1), addresses{"db:1": at(9)}), listed("early", at(5), addresses{"db:1": at(6)})}, "db:1", "early"},
		"at the same time":              {[]wire.Agent{listed("a", at(1), addresses{"db:1": at(5)}), listed("b", at(1), addresses{"db:1": at(5.9)})}, "db:1", "a b"},
		"and one much later":            {[]wire.Agent{listed("a", at(1), addresses{"db:1": at(5)}), listed("b", at(1), addresses{"db:1": at(5.9)}), listed("c", at(1), addresses{"db:1": at(7)})}, "db:1", "a b"},
		"a token bound to it":           {[]wire.Agent{listed("a", at(1), addresses{"db:1": at(5)}), listed("b db:*", at(1), addresses{"db:1": at(99)})}, "db:1", "b"},
		"a name, a token bound to it":   {[]wire.Agent{listed("db", at(1), nil), listed("b db:*", at(1), addresses{"db:9100": at(99)})}, "db:9100", "b"},
		"a token bound to others":       {[]wire.Agent{listed("b 10.*:*", at(1), addresses{"db:1": at(5)})}, "db:1", ""},
		"two tokens bound to it":        {[]wire.Agent{listed("a db:*", at(1), addresses{"db:1": at(5)}), listed("b *:1", at(1), addresses{"db:1": at(99)})}, "db:1", "a"},
		"one of an earlier version":     {[]wire.Agent{listed("a", at(1), addresses{"db:1": {}}), listed("b", at(1), addresses{"db:1": at(99)})}, "db:1", "b"},
		"two of an earlier version":     {[]wire.Agent{listed("a", at(1), addresses{"db:1": {}}), listed("b", at(1), addresses{"db:1": {}})}, "db:1", "a b"},
		"its own name as its address":   {[]wire.Agent{listed("db", at(1), addresses{"db:9100": at(50)}), listed("b", at(1), addresses{"db:9100": at(5)})}, "db:9100", "db"},
		"in any case":                   {[]wire.Agent{listed("a", at(1), addresses{"DB:1": at(5)})}, "db:1", "a"},
		"an address without a port":     {[]wire.Agent{listed("edge", at(5), nil)}, "edge", "edge"},
		"an IPv6 address":               {[]wire.Agent{listed("a", at(1), addresses{"[fd00::1]:9100": at(5)})}, "[fd00::1]:9100", "a"},
		"a host that begins with it":    {[]wire.Agent{listed("edge", at(5), nil)}, "edge.example.com:9100", ""},
		"an address beside a departure": {[]wire.Agent{listed("gone", at(1), addresses{"db:1": at(2)}), listed("evil", at(1), addresses{"db:1": at(5)})}, "db:1", "gone"},
	} {
		var got []string
		for _, a := range wire.NewAddressBook(test.agents).Holders(test.address) {
			got = append(got, a.Agent)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s is %q's, want %q", name, test.address, got, test.want)
		}
	}
}

// What the agents of a tenant cost that all declare one address: sixteen times as
// many must take about sixteen times as long.
//
//	go test -run - -bench Crowd ./relay/wire
func BenchmarkCrowdAtOneAddress(b *testing.B) {
	for _, n := range []int{250, 4000} {
		agents := make([]wire.Agent, n)
		for i := range agents {
			a := listed(fmt.Sprintf("agent-%05d", i), at(1), addresses{"db:1": at(1)})
			targets := slices.Clone(a.Last.List.All())
			for p := range 10 {
				targets = append(targets, wire.Target{Name: fmt.Sprint("p", p), Address: "db:1", Path: fmt.Sprint("/", p)})
			}
			a.Last.List = wire.NewTargetList(targets)
			agents[i] = a
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				book := wire.NewAddressBook(agents)
				for i := range agents {
					if n := book.Refused(agents[i].Agent, nil); len(n.Refused) != 0 {
						b.Fatalf("%s is refused %v", agents[i].Agent, n)
					}
				}
			}
		})
	}
}

// An agent is told which of its addresses are not its own, and why.
func TestRefusals(t *testing.T) {
	early, late := at(1), at(9)
	book := wire.NewAddressBook([]wire.Agent{
		listed("db", late, nil),
		listed("site", early, addresses{"db:9100": early, "app:80": late, "relay.internal:8080": early}),
		listed("bound 10.*:*", early, addresses{"10.0.0.1:80": late, "app:80": early}),
		listed("many", early, manyAddresses(early)),
	})
	own := wire.NewHosts("relay.internal")
	for agent, want := range map[string]string{
		"db":     "node db:9100 " + wire.AddressTaken.Why(),
		"site":   "tr relay.internal:8080 " + wire.AddressOwn.Why(),
		"bound":  "ta app:80 " + wire.AddressUnbound.Why(),
		"many":   "",
		"nobody": "",
	} {
		var got []string
		n := book.Refused(agent, own)
		for _, r := range n.Refused {
			got = append(got, r.Target+" "+r.Address+" "+r.Why)
		}
		if strings.Join(got, ", ") != want || n.More != 0 {
			t.Errorf("%s is refused %q and %d more, want %q", agent, got, n.More, want)
		}
	}
	n := book.Refused("many", wire.NewHosts("many.internal"))
	if len(n.Refused) != wire.MaxRefused || n.More != 1000-wire.MaxRefused {
		t.Errorf("%d refusals and %d more", len(n.Refused), n.More)
	}
	if payload := wire.MarshalControl(n); len(payload) > wire.MaxPayload {
		t.Errorf("%d bytes", len(payload))
	} else if back, err := wire.ParseNotice(payload); err != nil || len(back.Refused) != wire.MaxRefused || back.More != n.More {
		t.Errorf("read as %+v, %v", back, err)
	}
}

// manyAddresses are a thousand ports of one host.
func manyAddresses(since time.Time) addresses {
	all := make(addresses)
	for port := range 1000 {
		all[fmt.Sprintf("many.internal:%d", 1000+port)] = since
	}
	return all
}
