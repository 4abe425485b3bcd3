package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// The rules of conflict between instances of one name.

func testDisplace(t *testing.T, b *bench) {
	old, young := NewEntry("t", "a"), NewEntry("t", "a")
	oldEpoch := b.register(old)
	if epoch := b.register(young); epoch <= oldEpoch {
		t.Errorf("epoch %d after %d", epoch, oldEpoch)
	}
	a := b.lookup(old.AgentKey)
	if len(a.Links) != 1 || a.Links[0].Link != young.Link {
		t.Errorf("links are %v at once", a.Links)
	}
	b.Await(t, within, LostTo(old.Link, wire.ErrSuperseded))

	old.Epoch = oldEpoch
	b.refused(old, wire.ErrSuperseded)
	b.links(old.AgentKey, young.Link)

	b.Release(young.Link, lost)
	b.links(old.AgentKey)
	b.register(old) // nobody is in its way now
	b.links(old.AgentKey, old.Link)
}

func testKeepsEpoch(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	l.Epoch = 12345 // given by a directory that has forgotten it
	if epoch := b.register(l); epoch != 12345 {
		t.Errorf("epoch 12345 became %d", epoch)
	}
	b.Release(l.Link, lost)
	b.links(l.AgentKey)
	l.Epoch, l.Link = 0, wire.NewID[wire.LinkID]() // it never heard of its epoch
	if epoch := b.register(l); epoch != 12345 {
		t.Errorf("epoch 12345 became %d", epoch)
	}
	if epoch := b.register(NewEntry("t", "a")); epoch <= 12345 {
		t.Errorf("epoch %d after 12345", epoch)
	}
}

func testEpochAhead(t *testing.T, b *bench) {
	l := NewEntry("t", "a")
	l.Epoch = 1<<64 - 1
	if epoch := b.register(l); epoch > uint64(time.Now().Add(time.Hour).UnixMilli()) {
		t.Errorf("epoch is %d", epoch)
	}
	young := NewEntry("t", "a")
	b.register(young)
	b.links(l.AgentKey, young.Link)
}

func testYielding(t *testing.T, b *bench) {
	holder, other := NewEntry("t", "a"), NewEntry("t", "a")
	other.Yielding = true
	b.register(holder)
	b.refused(other, wire.ErrNameTaken)
	b.links(holder.AgentKey, holder.Link)

	b.Release(holder.Link, lost)
	b.links(holder.AgentKey)
	b.register(other)
	owner := NewEntry("t", "a") // its token is for this name
	b.register(owner)
	b.links(holder.AgentKey, owner.Link)
	b.Await(t, within, LostTo(other.Link, wire.ErrSuperseded))
}

// The lowest epoch of shared instances is asked first, so no instance that the
// record does not know may choose its own.
func testClaimedFirst(t *testing.T, b *bench) {
	thief := NewEntry("t", "a")
	thief.Epoch = 1
	b.register(thief) // alone, and not shared: it may be as old as it likes
	b.Release(thief.Link, stopped)
	b.links(thief.AgentKey)

	first, second := NewEntry("t", "a"), NewEntry("t", "a")
	first.Shared, second.Shared = true, true
	first.Epoch = b.register(first)
	second.Epoch = b.register(second)
	again := thief
	again.Link, again.Shared = wire.NewID[wire.LinkID](), true
	other := NewEntry("t", "a")
	other.Epoch, other.Shared = 1, true
	b.register(again)
	b.register(other)
	b.links(first.AgentKey, first.Link, second.Link, again.Link, other.Link)

	back := first
	back.Link, back.Epoch = wire.NewID[wire.LinkID](), 0
	if epoch := b.register(back); epoch != first.Epoch {
		t.Errorf("an instance that is linked has epoch %d, and by another link %d", first.Epoch, epoch)
	}
}

// testYieldingLeaves: what a token for a pattern took while the agent was away,
// it gives back, whatever the epochs.
func testYieldingLeaves(t *testing.T, b *bench) {
	owner, other := NewEntry("t", "a"), NewEntry("t", "a")
	other.Yielding = true
	owner.Epoch = b.register(owner)
	b.Release(owner.Link, lost)
	b.links(owner.AgentKey)
	if epoch := b.register(other); epoch <= owner.Epoch {
		t.Fatalf("epoch %d after %d", epoch, owner.Epoch)
	}
	owner.Link = wire.NewID[wire.LinkID]()
	b.register(owner)
	b.links(owner.AgentKey, owner.Link)
	b.Await(t, within, LostTo(other.Link, wire.ErrNameTaken))
	other.Link = wire.NewID[wire.LinkID]()
	b.refused(other, wire.ErrNameTaken)

	b.Release(owner.Link, drained)
	if a := b.links(owner.AgentKey); a.Last.Link != owner.Link || a.LastClose != drained {
		t.Errorf("described by link %s, closed for %q; want link %s", a.Last.Link, a.LastClose, owner.Link)
	}
}

func testYieldingShared(t *testing.T, b *bench) {
	var yielding []wire.Entry
	for range 2 {
		l := NewEntry("t", "a")
		l.Shared, l.Yielding = true, true
		b.register(l)
		yielding = append(yielding, l)
	}
	b.links(yielding[0].AgentKey, yielding[0].Link, yielding[1].Link)

	owner := NewEntry("t", "a") // its token is for this name
	owner.Shared, owner.Epoch = true, 1
	b.register(owner)
	b.links(owner.AgentKey, owner.Link)
	for _, l := range yielding {
		b.Await(t, within, LostTo(l.Link, wire.ErrNameTaken))
		l.Link = wire.NewID[wire.LinkID]()
		b.refused(l, wire.ErrNameTaken)
	}
	b.links(owner.AgentKey, owner.Link)
}

func testShared(t *testing.T, b *bench) {
	first, second := NewEntry("t", "a"), NewEntry("t", "a")
	first.Shared, second.Shared = true, true
	second.List = wire.NewTargetList(append(slices.Clone(second.List.All()), wire.Target{Name: "app"}))
	b.register(first)
	b.register(second)
	a := b.links(first.AgentKey, first.Link, second.Link)
	if targets := a.Targets(); len(targets) != 2 {
		t.Errorf("targets are %v", targets)
	}
	b.Release(first.Link, lost)
	b.links(first.AgentKey, second.Link)
	b.Release(second.Link, drained)
	if a := b.links(first.AgentKey); a.LastClose != drained {
		t.Errorf("closed for %q", a.LastClose)
	}
}

func testSharedConflict(t *testing.T, b *bench) {
	alone, shared := NewEntry("t", "a"), NewEntry("t", "a")
	shared.Shared = true
	alone.Epoch = b.register(alone)
	shared.Epoch = b.register(shared)
	b.links(alone.AgentKey, shared.Link)
	b.refused(alone, wire.ErrSuperseded)

	young := NewEntry("t", "a")
	b.register(young)
	b.links(alone.AgentKey, young.Link)
	b.refused(shared, wire.ErrSuperseded)
}
