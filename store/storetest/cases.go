package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// causes that a release gives.
var (
	lost    = wire.CauseLost.String()
	drained = wire.CauseDrained.String()
	stopped = wire.CauseAgentStopped.String()
)

func testUnknown(t *testing.T, b *bench) {
	if a := b.lookup(wire.AgentKey{Tenant: "t", Agent: "nobody"}); a != nil {
		t.Errorf("nobody is %v", a)
	}
}

func testEntry(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	l.Version, l.RemoteAddr = "1.2.3", "192.0.2.1:7"
	l.TokenExpiry = l.Connected.Add(time.Hour)
	l.List = wire.NewTargetList([]wire.Target{{Name: "node", Labels: map[string]string{"site": "berlin", "odd": "a\"b\n{}é<&>"}}})
	l.Epoch = b.register(l)

	a := b.links(l.AgentKey, l.Link)
	if a.AgentKey != l.AgentKey || !a.Connected() || a.LastClose != "" {
		t.Errorf("agent is %+v", a)
	}
	if since := time.Since(a.LastSeen); since < -time.Second || since > time.Minute {
		t.Errorf("seen %v ago", since)
	}
	for _, got := range []wire.Entry{a.Links[0], a.Last} {
		if !got.Connected.Equal(l.Connected) || !got.TokenExpiry.Equal(l.TokenExpiry) {
			t.Errorf("times are %v and %v", got.Connected, got.TokenExpiry)
		}
		got.Connected, got.TokenExpiry = l.Connected, l.TokenExpiry
		if !reflect.DeepEqual(got, l) {
			t.Errorf("entry is\n%+v, want\n%+v", got, l)
		}
	}
}

func testTwoLinks(t *testing.T, b *bench) {
	first := NewEntry("t", "a")
	epoch := b.register(first)
	second := first
	second.Link, second.Replica = wire.NewID[wire.LinkID](), wire.NewID[wire.ReplicaID]()
	if got := b.register(second); got != epoch {
		t.Errorf("second link has epoch %d, the first %d", got, epoch)
	}
	if a := b.lookup(first.AgentKey); len(a.Links) != 2 {
		t.Errorf("links are %v", a.Links)
	}
	b.Release(first.Link, drained)
	a := b.links(first.AgentKey, second.Link)
	if a.LastClose != "" {
		t.Errorf("connected, and closed for %q", a.LastClose)
	}
}

func testTwice(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	epoch := b.register(l)
	l.Epoch = epoch
	if again := b.register(l); again != epoch {
		t.Errorf("epoch %d became %d", epoch, again)
	}
	b.links(l.AgentKey, l.Link)
}

func testLateRelease(t *testing.T, b *bench) {
	old, young := NewEntry("t", "a"), NewEntry("t", "a")
	b.register(old)
	b.register(young)
	b.Release(old.Link, stopped)
	b.Release(wire.NewID[wire.LinkID](), stopped)
	other := NewEntry("t", "b") // after it, the releases are done, too
	b.register(other)
	a := b.links(old.AgentKey, young.Link)
	if a.LastClose != "" {
		t.Errorf("closed for %q", a.LastClose)
	}
}

func testUpdate(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	b.register(l)
	for _, name := range []string{"one", "two", "three"} {
		b.Update(l.Link, wire.NewTargetList([]wire.Target{{Name: name}}))
	}
	b.Update(wire.NewID[wire.LinkID](), nil) // of nobody
	WaitUntil(t, within, "the last update", func() bool {
		a := b.lookup(l.AgentKey)
		targets := a.Targets()
		return len(targets) == 1 && targets[0].Name == "three" && a.Last.List.All()[0].Name == "three"
	})
}

func testRenewed(t *testing.T, b *bench) {
	first, second := NewEntry("t", "a"), NewEntry("t", "a")
	first.List = wire.NewTargetList([]wire.Target{{Name: "one", Labels: map[string]string{"long": strings.Repeat("x", 600)}}})
	second.Instance, second.List, second.Epoch = first.Instance, first.List, b.register(first)
	b.register(second)
	end := first.Connected.Add(1000 * time.Hour)
	b.Renewed(wire.NewID[wire.LinkID](), end) // of nobody
	for _, to := range []time.Time{end.Add(-time.Hour), end, {}} {
		b.Renewed(first.Link, to)
		b.Renewed(second.Link, to)
		WaitUntil(t, within, fmt.Sprint("a token until ", to), func() bool {
			a := b.lookup(first.AgentKey)
			return len(a.Links) == 2 && a.Links[0].TokenExpiry.Equal(to) && a.Links[1].TokenExpiry.Equal(to) && a.Last.TokenExpiry.Equal(to) &&
				a.Links[0].List.Hash() == first.List.Hash()
		})
		WaitUntil(t, within, "the listing says so", func() bool {
			listed, err := b.List(t.Context(), "t")
			return err == nil && len(listed) == 1 && listed[0].Links[0].TokenExpiry.Equal(to)
		})
	}
}

func testLongList(t *testing.T, b *bench) {
	list := func(n int, tag string) *wire.TargetList {
		var all []wire.Target
		for i := range n {
			all = append(all, wire.Target{Name: fmt.Sprint("t", i), Address: fmt.Sprintf("%s-%d:1", tag, i%7), Labels: map[string]string{"odd": "a\"b\n{}é<&>", "tag": tag}})
		}
		return wire.NewTargetList(all)
	}
	first, second := NewEntry("t", "a"), NewEntry("t", "a")
	first.List, second.List = list(20, "a"), list(20, "a")
	second.Instance, second.Epoch = first.Instance, b.register(first)
	b.register(second)
	for _, l := range []*wire.TargetList{list(20, "b"), list(21, "b"), list(10, "b"), list(1, "b"), nil, list(20, "a"), list(19, "a")} {
		b.Update(first.Link, l)
		b.Update(second.Link, l)
		WaitUntil(t, within, fmt.Sprint("its ", l.Len(), " targets"), func() bool {
			a := b.lookup(first.AgentKey)
			addresses := min(l.Len(), 7)
			return len(a.Links) == 2 && a.Links[0].List.Hash() == l.Hash() && a.Links[1].List.Hash() == l.Hash() && a.Last.List.Hash() == l.Hash() &&
				len(a.Targets()) == l.Len() && (addresses == 0 || len(a.Claims) == addresses+1)
		})
	}
}

func testDeparted(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	l.Epoch = b.register(l)
	b.Release(l.Link, drained)
	a := b.links(l.AgentKey)
	if a.Connected() || a.LastClose != drained || a.Last.Link != l.Link || a.Last.Epoch != l.Epoch {
		t.Errorf("agent is %+v", a)
	}
	if len(a.Targets()) != 1 {
		t.Errorf("targets are %v", a.Targets())
	}
	if since := time.Since(a.LastSeen); since < -time.Second || since > time.Minute {
		t.Errorf("seen %v ago", since)
	}
}

func testKeep(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	b.register(l)
	b.Release(l.Link, lost)
	b.links(l.AgentKey)
	WaitUntil(t, within, "the agent is forgotten", func() bool { return b.lookup(l.AgentKey) == nil })
	if agents, err := b.List(t.Context(), "t"); err != nil || len(agents) != 0 {
		t.Errorf("listed: %v, %v", agents, err)
	}
}

func testEphemeralStopped(t *testing.T, b *bench) {
	first := NewEntry("t", "a")
	first.Ephemeral = true
	second := first
	second.Link = wire.NewID[wire.LinkID]()
	b.register(first)
	b.register(second)
	b.Release(first.Link, stopped)
	b.links(first.AgentKey, second.Link)
	b.Release(second.Link, stopped)
	WaitUntil(t, within, "the agent is gone", func() bool { return b.lookup(first.AgentKey) == nil })
	if agents, err := b.List(t.Context(), "t"); err != nil || len(agents) != 0 {
		t.Errorf("listed: %v, %v", agents, err)
	}
}

func testEphemeralLost(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	l.Ephemeral = true
	b.register(l)
	b.Release(l.Link, lost)
	if a := b.links(l.AgentKey); a.LastClose != lost {
		t.Errorf("closed for %q", a.LastClose)
	}
}

func testList(t *testing.T, b *bench) {
	for _, l := range []wire.Entry{NewEntry("t", "c"), NewEntry("t", "a"), NewEntry("other", "b"), NewEntry("t", "b")} {
		b.register(l)
		if l.Agent == "c" {
			b.Release(l.Link, lost)
			b.links(l.AgentKey)
		}
	}
	agents, err := b.List(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range agents {
		names = append(names, a.Agent)
		if a.Connected() == (a.Agent == "c") {
			t.Errorf("agent %s is %+v", a.Agent, a)
		}
	}
	if !reflect.DeepEqual(names, []string{"a", "b", "c"}) {
		t.Errorf("listed are %v", names)
	}
	if agents, err := b.List(t.Context(), "nobody"); err != nil || len(agents) != 0 {
		t.Errorf("nobody has %v, %v", agents, err)
	}
}

func testForget(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	b.register(l)
	if err := b.Forget(t.Context(), l.AgentKey); !errors.Is(err, wire.ErrConnected) {
		t.Error("forgot a connected agent")
	}
	b.links(l.AgentKey, l.Link)
	b.Release(l.Link, lost)
	b.links(l.AgentKey)
	for range 2 {
		if err := b.Forget(t.Context(), l.AgentKey); err != nil {
			t.Errorf("forget: %v", err)
		}
	}
	if a := b.lookup(l.AgentKey); a != nil {
		t.Errorf("forgotten: %v", a)
	}
	if agents, err := b.List(t.Context(), "t"); err != nil || len(agents) != 0 {
		t.Errorf("listed: %v, %v", agents, err)
	}
}

// declaring is an entry whose targets go by these addresses.
func declaring(agent string, addresses ...string) wire.Entry {
	l := NewEntry("default", agent)
	l.List = declared(addresses...)
	return l
}

func declared(addresses ...string) *wire.TargetList {
	targets := []wire.Target{}
	for i, a := range addresses {
		targets = append(targets, wire.Target{Name: fmt.Sprintf("t%d", i), Scheme: "http", Port: 9100, Path: "/", Address: a})
	}
	return wire.NewTargetList(targets)
}

func testClaims(t *testing.T, b *bench) {
	first := declaring("a", "DB:1")
	b.register(first)
	began := b.lookup(first.AgentKey)
	if began.Since.IsZero() || began.Claims["db:1"].IsZero() {
		t.Fatalf("since %v, claims %v", began.Since, began.Claims)
	}
	later(t)
	rival := declaring("b", "db:1")
	b.register(rival)
	if late := b.lookup(rival.AgentKey); !late.Claims["db:1"].After(began.Claims["db:1"]) || !late.Since.After(began.Since) {
		t.Errorf("the later claim is of %v, the earlier of %v", late.Claims, began.Claims)
	}
	kept := func(what string) {
		t.Helper()
		now := b.lookup(first.AgentKey)
		if drift := now.Claims["db:1"].Sub(began.Claims["db:1"]).Abs(); drift > 2*time.Millisecond {
			t.Errorf("%s moved the claim by %s", what, drift)
		}
		if drift := now.Since.Sub(began.Since).Abs(); drift > 2*time.Millisecond {
			t.Errorf("%s moved the name by %s", what, drift)
		}
	}
	second := first
	second.Link = wire.NewID[wire.LinkID]()
	b.register(second)
	kept("a second link")
	b.Update(second.Link, declared("db:2", "db:1"))
	WaitUntil(t, within, "the new address is there", func() bool { return !b.lookup(first.AgentKey).Claims["db:2"].IsZero() })
	kept("another address")
	for _, l := range []wire.LinkID{first.Link, second.Link} {
		b.Release(l, "agent_stopped")
	}
	b.links(first.AgentKey)
	kept("leaving")
	b.register(declaring("a", "db:1"))
	kept("another process")
}

func testClaimDroppedAndMade(t *testing.T, b *bench) {
	l := declaring("a", "db:1")
	b.register(l)
	began := b.lookup(l.AgentKey).Claims["db:1"]
	b.Update(l.Link, declared())
	WaitUntil(t, within, "the claim is gone", func() bool { return len(b.lookup(l.AgentKey).Claims) == 0 })
	later(t)
	b.Update(l.Link, declared("db:1"))
	WaitUntil(t, within, "the claim is back", func() bool { return b.lookup(l.AgentKey).Claims["db:1"].After(began) })
}

// later lets the directory's clock, which counts milliseconds, go on.
func later(t *testing.T) {
	t.Helper()
	start := time.Now()
	WaitUntil(t, within, "some time has passed", func() bool { return time.Since(start) > 20*time.Millisecond })
}
