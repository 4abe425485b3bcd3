package wire_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// someRevocations draws a few, of few subjects and at few times, so that they meet.
func someRevocations(r *rand.Rand) []wire.Revocation {
	subjects := []wire.RevokedSubject{
		{Kind: wire.RevokedAgent, Tenant: "t", Name: "edge-1"}, {Kind: wire.RevokedAgent, Tenant: "t", Name: "edge-*"},
		{Kind: wire.RevokedScraper, Tenant: "t", Name: "p"}, {Kind: wire.RevokedToken, Name: "0123456789abcdef"},
	}
	var all []wire.Revocation
	for range r.IntN(6) {
		all = append(all, wire.Revocation{
			RevokedSubject: subjects[r.IntN(len(subjects))],
			Before:         r.Int64N(4), Made: 1 + r.Int64N(4), Lifted: r.Int64N(4),
		})
	}
	return all
}

// Whatever copies of what was revoked there are, and in whatever order they are joined,
// the same comes out: the later of each time.
func TestCopiesOfRevocationsJoinInAnyOrder(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		a, b, c := wire.NewRevocations(someRevocations(r)), wire.NewRevocations(someRevocations(r)), wire.NewRevocations(someRevocations(r))
		join := func(all ...*wire.Revocations) *wire.Revocations {
			joined := wire.NewRevocations(nil)
			for _, s := range all {
				joined = joined.Join(s.All())
			}
			return joined
		}
		all := join(a, b, c)
		for what, other := range map[string]*wire.Revocations{
			"another order":  join(c, a, b),
			"another nest":   join(a, join(b, c)),
			"some of it two": join(a, b, a, c, join(a, c)),
			"itself":         join(all, all),
			"what was lost":  join(a, wire.NewRevocations(all.Beyond(a))),
		} {
			if !slices.Equal(all.All(), other.All()) {
				t.Fatalf("seed %d: %s is\n%v, not\n%v", seed, what, other.All(), all.All())
			}
		}
		if more := a.Beyond(all); more != nil {
			t.Fatalf("seed %d: %v is beyond what it was joined into", seed, more)
		}
		for _, r := range all.All() { // and no more is dead than some copy says, be it an older one's time
			_, dead := all.Dead(r.Kind, r.Tenant, r.Name, r.Name, 0)
			if holds := r.Made > r.Lifted && r.Before > 0; holds && !dead {
				t.Fatalf("seed %d: %v does not hold", seed, r)
			}
		}
	}
}

func TestALiftedRevocationHoldsAgainOnlyOnceItIsMadeAgain(t *testing.T) {
	subject := wire.RevokedSubject{Kind: wire.RevokedScraper, Tenant: "t", Name: "p"}
	set := wire.NewRevocations(nil)
	for _, step := range []struct {
		made, lifted int64
		dead         bool
	}{{10, 0, true}, {10, 11, false}, {10, 0, false}, {12, 0, true}, {9, 11, true}} {
		set = set.Join([]wire.Revocation{{RevokedSubject: subject, Before: 100, Made: step.made, Lifted: step.lifted}})
		if _, dead := set.Dead(wire.RevokedScraper, "t", "p", "", 99); dead != step.dead {
			t.Errorf("after %+v: %t", step, dead)
		}
	}
}

func TestWhatWasLiftedLongAgoIsForgotten(t *testing.T) {
	subject := func(name string) wire.RevokedSubject {
		return wire.RevokedSubject{Kind: wire.RevokedScraper, Tenant: "t", Name: name}
	}
	set := wire.NewRevocations([]wire.Revocation{
		{RevokedSubject: subject("holds"), Before: 1, Made: 1}, {RevokedSubject: subject("again"), Before: 1, Made: 6, Lifted: 5},
		{RevokedSubject: subject("lately"), Before: 1, Made: 1, Lifted: 10}, {RevokedSubject: subject("long-ago"), Before: 1, Made: 1, Lifted: 9},
	})
	var kept []string
	for _, r := range set.Forget(10).All() {
		kept = append(kept, r.Name)
	}
	if !slices.Equal(kept, []string{"again", "holds", "lately"}) || set.Forget(9) != set {
		t.Errorf("kept are %q", kept)
	}
}

func TestWhatCanBeTakenBack(t *testing.T) {
	for _, s := range []wire.RevokedSubject{
		{Kind: wire.RevokedAgent, Tenant: "t", Name: "edge-1"}, {Kind: wire.RevokedAgent, Tenant: "t", Name: "edge-[a-c]?*"},
		{Kind: wire.RevokedScraper, Tenant: "t", Name: "Team_A"}, {Kind: wire.RevokedToken, Name: "0123456789abcdef"},
	} {
		if again, err := wire.ParseRevokedSubject(s.String()); err != nil || again != s {
			t.Errorf("%s is read as %v, %v", s, again, err)
		}
	}
	for _, s := range []wire.RevokedSubject{
		{}, {Kind: "agents", Tenant: "t", Name: "a"}, {Kind: wire.RevokedAgent, Name: "a"}, {Kind: wire.RevokedAgent, Tenant: "t"},
		{Kind: wire.RevokedAgent, Tenant: "t", Name: "Edge"}, {Kind: wire.RevokedAgent, Tenant: "t", Name: "Edge-*"},
		{Kind: wire.RevokedAgent, Tenant: "t", Name: "edge-["}, {Kind: wire.RevokedAgent, Tenant: "t", Name: "edge *"},
		{Kind: wire.RevokedAgent, Tenant: "t", Name: strings.Repeat("*", 254)},
		{Kind: wire.RevokedScraper, Tenant: "t", Name: "team-*"}, {Kind: wire.RevokedToken, Tenant: "t", Name: "0123456789abcdef"},
		{Kind: wire.RevokedToken, Name: "0123456789ABCDEF"}, {Kind: wire.RevokedToken, Name: "0123"},
	} {
		if _, err := wire.ParseRevokedSubject(s.String()); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// What is read may have been written by anybody: it takes no more than its room, and
// what has a place keeps it.
func TestASetOfRevocationsIsBounded(t *testing.T) {
	first := wire.Revocation{RevokedSubject: wire.RevokedSubject{Kind: wire.RevokedScraper, Tenant: "z", Name: "z"}, Before: 1, Made: 1}
	set := wire.NewRevocations([]wire.Revocation{first, {RevokedSubject: first.RevokedSubject, Before: -1, Made: 9, Lifted: 9}})
	var more []wire.Revocation
	for i := range wire.MaxRevocations {
		more = append(more, wire.Revocation{RevokedSubject: wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: "t", Name: fmt.Sprintf("a%d-*", i)}, Before: 1, Made: 1})
	}
	if set = set.Join(more); set.Len() != wire.MaxRevokedPatterns+1 {
		t.Errorf("%d patterns", set.Len()-1)
	}
	for i := range more {
		more[i].Name = fmt.Sprintf("a%d", i)
	}
	if set = set.Join(more); set.Len() != wire.MaxRevocations {
		t.Errorf("%d revocations", set.Len())
	}
	if _, dead := set.Dead(wire.RevokedScraper, "z", "z", "", 0); !dead {
		t.Error("the first has lost its place")
	}
}

// go test -run - -bench Dead ./relay/wire: what each link of an agent costs at the
// worst when something is taken back.
func BenchmarkDead(b *testing.B) {
	var all []wire.Revocation
	for i := range wire.MaxRevokedPatterns {
		all = append(all, wire.Revocation{RevokedSubject: wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: "t", Name: fmt.Sprintf("edge-%d-*", i)}, Before: 1, Made: 1})
	}
	set := wire.NewRevocations(all)
	b.ReportAllocs()
	for b.Loop() {
		if _, dead := set.Dead(wire.RevokedAgent, "t", "edge-x-1", "0123456789abcdef", 0); dead {
			b.Fatal("dead")
		}
	}
}
