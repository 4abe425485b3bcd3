package attempt

import (
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

var keen = wire.AgentKey{Tenant: "default", Agent: "keen"}

func TestRetriesAreAShareOfTheScrapes(t *testing.T) {
	b := newRetryBudget()
	for range retriesOfAgent {
		if !b.spend(keen) {
			t.Fatal("what was saved up does not last")
		}
	}
	granted := 0
	for range 1000 { // an outage: every scrape wants one
		b.earn(keen)
		if b.spend(keen) {
			granted++
		}
	}
	if granted < 199 || granted > 200 {
		t.Errorf("%d retries for 1000 scrapes", granted)
	}
}

func TestAllAgentsTogetherHaveABudget(t *testing.T) {
	b := newRetryBudget()
	granted := 0
	for i := range 10_000 {
		if b.spend(wire.AgentKey{Tenant: "default", Agent: string(rune(i))}) {
			granted++
		}
	}
	if granted != 1000 {
		t.Errorf("%d retries of one tenant's agents, each its first", granted)
	}
	if !b.spend(wire.AgentKey{Tenant: "another", Agent: "x"}) {
		t.Error("none is left for another tenant")
	}
}

func TestRetriesThatAreNotEarnedAreForgivenInTime(t *testing.T) {
	b := newRetryBudget()
	for b.spend(keen) {
	}
	for range 30 { // five minutes
		b.forgive(10 * time.Second)
	}
	granted := 0
	for b.spend(keen) {
		granted++
	}
	if granted < retriesOfAgent/2-1 || granted > retriesOfAgent/2+1 {
		t.Errorf("%d retries are back after five minutes", granted)
	}
	for range 400 {
		b.forgive(10 * time.Second)
	}
	if n := b.shares.Members(); n != 0 {
		t.Errorf("%d are remembered for ever", n)
	}
}
