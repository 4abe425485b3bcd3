package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// joinToken is what joins by a new token have in common.
func (b *bench) joinToken(uses int) wire.Join {
	b.t.Helper()
	join := wire.Join{TokenID: string(wire.NewID[wire.LinkID]()), Uses: uses, Expires: time.Now().Add(time.Hour), Free: true}
	begin := joinAs(join, "begin", "begin")
	begin.TokenID = string(wire.NewID[wire.LinkID]())
	_, _ = b.Join(b.t.Context(), begin) // at the latest now it is counted who joins
	join.Minted = time.Now().Truncate(time.Millisecond)
	return join
}

// joinAs is a new host's.
func joinAs(join wire.Join, tenant, name string) wire.Join {
	join.AgentKey = wire.AgentKey{Tenant: tenant, Agent: name}
	join.Joiner = wire.NewJoinID().Joiner()
	return join
}

func (b *bench) joins(j wire.Join, want error) {
	b.t.Helper()
	if _, err := b.Join(b.t.Context(), j); !errors.Is(err, want) {
		b.t.Errorf("join as %s: %v, want %v", j.Agent, err, want)
	}
}

func testJoin(t *testing.T, b *bench) {
	token := b.joinToken(2)
	first := joinAs(token, "t", "a")
	if again, err := b.Join(t.Context(), first); err != nil || again {
		t.Fatalf("the first join: again %t, %v", again, err)
	}
	if again, err := b.Join(t.Context(), first); err != nil || !again {
		t.Errorf("asked once more: again %t, %v", again, err)
	}
	other := first
	other.Agent = "b"
	b.joins(other, wire.ErrJoinRenamed)

	var taken *wire.NameJoinedError
	second := joinAs(token, "t", "a")
	if _, err := b.Join(t.Context(), second); !errors.As(err, &taken) || taken.Joiner != first.Joiner || !taken.First.Equal(token.Minted.Truncate(time.Second)) {
		t.Errorf("a name that another has joined by: %v", err)
	}
	b.joins(joinAs(token, "other", "a"), nil) // its tenant's names are its own
	b.joins(joinAs(token, "t", "c"), wire.ErrJoinsUsedUp)
	b.joins(first, nil)
}

func testJoinInstead(t *testing.T, b *bench) {
	first := joinAs(b.joinToken(1), "t", "a")
	b.joins(first, nil)
	token := b.joinToken(2)
	second := joinAs(token, "t", "a")
	second.Free, second.Instead = false, first.Joiner
	b.joins(second, nil)
	b.joins(second, nil)
	if _, err := b.Join(t.Context(), first); !errors.As(err, new(*wire.NameJoinedError)) {
		t.Errorf("who had to make room joins again: %v", err)
	}
	late := joinAs(token, "t", "a")
	late.Instead = first.Joiner // is not there any more
	if _, err := b.Join(t.Context(), late); !errors.As(err, new(*wire.NameJoinedError)) {
		t.Errorf("instead of who is not there: %v", err)
	}
}

// testJoinByAnother: who has joined may join by the next token, too, under its name.
func testJoinByAnother(t *testing.T, b *bench) {
	first := joinAs(b.joinToken(1), "t", "a")
	b.joins(first, nil)
	next := b.joinToken(1)
	next.AgentKey, next.Joiner, next.Free = first.AgentKey, first.Joiner, false
	b.joins(next, nil)
	b.joins(first, nil) // by the first once more: the name is had since the later
	var taken *wire.NameJoinedError
	if _, err := b.Join(t.Context(), joinAs(b.joinToken(1), "t", "a")); !errors.As(err, &taken) || taken.First.Before(next.Minted.Truncate(time.Second)) {
		t.Errorf("the name is had since %v, %v", taken, err)
	}
	b.joins(joinAs(next, "t", "b"), wire.ErrNameInUse)
	other := joinAs(next, "t", "b")
	other.Free = true
	b.joins(other, wire.ErrJoinsUsedUp)
}

func testJoinTimes(t *testing.T, b *bench) {
	token := joinAs(b.joinToken(1), "t", "a")
	early := token
	early.Minted = early.Minted.Add(time.Hour)
	var ahead *wire.JoinEarlyError
	if _, err := b.Join(t.Context(), early); !errors.As(err, &ahead) || ahead.By < 59*time.Minute || ahead.By > time.Hour {
		t.Errorf("a token of the future: %v", err)
	}
	old := token
	old.Minted = old.Minted.Add(-time.Hour)
	b.joins(old, wire.ErrJoinOld)
	b.joins(token, nil)
}

// testJoinAtOnce: as many as may, by names of their own, however many want to.
func testJoinAtOnce(t *testing.T, b *bench) {
	const hosts, uses, names = 200, 20, 50
	token := b.joinToken(uses)
	var all sync.WaitGroup
	var joined atomic.Int64
	var held sync.Map
	for i := range hosts {
		all.Go(func() {
			j := joinAs(token, "t", fmt.Sprint("a", i%names))
			for range 2 {
				if again, err := b.Join(t.Context(), j); err == nil && !again {
					joined.Add(1)
					if _, twice := held.LoadOrStore(j.Agent, j.Joiner); twice {
						t.Errorf("two have joined as %s", j.Agent)
					}
				}
			}
		})
	}
	all.Wait()
	if joined.Load() != uses {
		t.Errorf("%d have joined, %d may", joined.Load(), uses)
	}
}
