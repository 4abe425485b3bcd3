package share_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/share"
)

// takeAll takes one after the other, for members that name names, until none comes.
func takeAll(p *share.Pool, name func(i int) share.Member) (taken int) {
	for i := range 10_000 {
		if p.Take(name(i), 1) {
			taken++
		}
	}
	return taken
}

func TestNobodyTakesAll(t *testing.T) {
	for name, c := range map[string]struct {
		greedy func(i int) share.Member
		most   int
	}{
		"one":      {func(int) share.Member { return share.Member{Tenant: "a", Name: "x"} }, 50},
		"a tenant": {func(i int) share.Member { return share.Member{Tenant: "a", Name: fmt.Sprint(i)} }, 67},
	} {
		t.Run(name, func(t *testing.T) {
			p := share.New(100, 100)
			if n := takeAll(p, c.greedy); n != c.most {
				t.Errorf("%d of 100 are taken, want %d", n, c.most)
			}
			if !p.Take(share.Member{Tenant: "b", Name: "x"}, 10) {
				t.Error("none are left for another tenant")
			}
		})
	}
}

func TestAMemberHasNoMoreThanEach(t *testing.T) {
	p := share.New(100, 7)
	if n := takeAll(p, func(int) share.Member { return share.Member{Name: "x"} }); n != 7 {
		t.Errorf("it has %d, want 7", n)
	}
}

func TestALoanLeavesSomeOfAMembersOwn(t *testing.T) {
	p := share.New(1000, 1000)
	m := share.Member{Name: "x"}
	if first, second := p.Lend(m, 1000), p.Lend(m, 10); first != 125 || second != 10 {
		t.Errorf("%d and %d are lent, want 125 and 10", first, second)
	}
	for p.Lend(m, 1000) > 0 {
	}
	if n := p.Taken(); n > 510 { // the last loan was of what was free before it
		t.Errorf("one has %g of 1000", n)
	}
}

func TestWhatIsGivenBackIsForgotten(t *testing.T) {
	p := share.New(100, 100)
	m := share.Member{Tenant: "a", Name: "x"}
	p.Take(m, 3)
	p.Give(m, 2)
	p.Give(m, 2) // more than it has
	p.Give(share.Member{Name: "stranger"}, 1)
	if p.Taken() != 0 || p.Members() != 0 {
		t.Errorf("%g are taken by %d", p.Taken(), p.Members())
	}
}

func TestWhatIsForgivenMayBeTakenAgain(t *testing.T) {
	p := share.New(100, 10)
	m := share.Member{Name: "x"}
	p.Take(m, 10)
	p.Forgive(time.Minute, time.Minute)
	if p.Take(m, 6) || !p.Take(m, 5) {
		t.Error("after a half-life another half may be taken")
	}
	for range 20 {
		p.Forgive(time.Minute, time.Minute)
	}
	if p.Members() != 0 {
		t.Error("what was forgiven is remembered")
	}
}
