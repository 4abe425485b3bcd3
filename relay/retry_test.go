package relay

import "testing"

func TestRetriesAreAShareOfTheScrapes(t *testing.T) {
	b := newRetryBudget()
	for range retryBurst {
		if !b.spend() {
			t.Fatal("what was saved up does not last")
		}
	}
	granted := 0
	for range 1000 { // an outage: every scrape wants one
		b.earn()
		if b.spend() {
			granted++
		}
	}
	if granted < 199 || granted > 200 {
		t.Errorf("%d retries for 1000 scrapes", granted)
	}
}
