package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// over registers an entry that there is no room for.
func (b *bench) over(l wire.Entry, setting string) {
	b.t.Helper()
	_, err := b.Register(b.t.Context(), l)
	var limit *wire.LimitError
	if !errors.As(err, &limit) || limit.Setting != setting || limit.Value <= 0 {
		b.t.Fatalf("register: got %v, want more than %s", err, setting)
	}
}

// again makes an entry of a new link of the same instance.
func again(l wire.Entry) wire.Entry {
	l.Link = wire.NewID[wire.LinkID]()
	return l
}

func targets(n int) *wire.TargetList {
	var all []wire.Target
	for i := range n {
		all = append(all, wire.Target{Name: fmt.Sprint("t", i)})
	}
	return wire.NewTargetList(all)
}

func testTenantAgents(t *testing.T, b *bench) {
	var entries []wire.Entry
	for i := range TenantAgents {
		l := NewEntry("t", fmt.Sprint("a", i))
		l.Yielding = i < TenantAgents/4*3
		b.register(l)
		entries = append(entries, l)
		if i == TenantAgents/4*3-1 { // there is room for tokens for a name only
			l = NewEntry("t", "pattern")
			l.Yielding = true
			b.over(l, "FARSCRAPE_TENANT_MAX_AGENTS")
		}
	}
	late := NewEntry("t", "late")
	b.over(late, "FARSCRAPE_TENANT_MAX_AGENTS")
	b.register(NewEntry("other", "a")) // its tenant's room is its own
	b.register(again(entries[0]))      // it is no more than before
	if a := b.lookup(late.AgentKey); a != nil {
		t.Errorf("who was refused is %+v", a)
	}

	b.Release(entries[1].Link, lost)
	b.links(entries[1].AgentKey)
	b.over(late, "FARSCRAPE_TENANT_MAX_AGENTS") // it is listed still
	if err := b.Forget(t.Context(), entries[1].AgentKey); err != nil {
		t.Fatal(err)
	}
	b.register(late)
}

func testTenantTargets(t *testing.T, b *bench) {
	big, small := NewEntry("t", "big"), NewEntry("t", "small")
	big.List, small.List = targets(TenantTargets-2), targets(1)
	b.register(big)
	small.Epoch = b.register(small)
	late := NewEntry("t", "late")
	late.List = targets(2)
	b.over(late, "FARSCRAPE_TENANT_MAX_TARGETS")

	b.Update(small.Link, targets(3))
	b.Await(t, within, OverLimit(small.Link))
	if a := b.links(small.AgentKey, small.Link); len(a.Targets()) != 1 {
		t.Errorf("targets are %v", a.Targets())
	}
	b.register(again(small))
	b.Update(big.Link, targets(1))
	WaitUntil(t, within, "there is room", func() bool {
		_, err := b.Register(t.Context(), late)
		return err == nil
	})
}

func testTenantBytes(t *testing.T, b *bench) {
	list := func(bytes int) *wire.TargetList {
		return wire.NewTargetList([]wire.Target{{Name: "node", Labels: map[string]string{"a": strings.Repeat("x", bytes)}}})
	}
	for i := range 4 {
		l := NewEntry("t", fmt.Sprint("a", i))
		l.List = list(TenantBytes / 5)
		b.register(l)
	}
	late := NewEntry("t", "late")
	late.List = list(TenantBytes / 5)
	b.over(late, "FARSCRAPE_TENANT_MAX_BYTES")
	late.List = list(TenantBytes / 10)
	b.register(late)
}

// testAgentBytes: the same list by many links is one, and others add up.
func testAgentBytes(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	list := func(fill string) *wire.TargetList {
		return wire.NewTargetList([]wire.Target{{Name: "node", Labels: map[string]string{"a": strings.Repeat(fill, TenantBytes/10)}}})
	}
	l.List = list("x")
	for range 4 {
		l = again(l)
		b.register(l)
	}
	other := again(l)
	other.List = list("y")
	b.register(other)
	third := again(l)
	third.List = list("z")
	b.over(third, "FARSCRAPE_TENANT_MAX_BYTES")
	b.Release(other.Link, drained)
	WaitUntil(t, within, "there is room again", func() bool {
		_, err := b.Register(t.Context(), third)
		return err == nil
	})
	b.register(again(l))
}
