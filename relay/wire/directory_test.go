package wire_test

import (
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A linked agent is seen now, by and large; one that has departed was seen then.
func TestALinkedAgentIsSeenNow(t *testing.T) {
	at := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	a := wire.Agent{LastSeen: at}
	if seen := a.Seen(at.Add(time.Hour)); !seen.Equal(at) {
		t.Errorf("departed, it was seen at %v", seen)
	}
	a.Links = make([]wire.Entry, 1)
	for after, want := range map[time.Duration]time.Duration{time.Second: 0, 6 * time.Second: 5 * time.Second, -time.Hour: 0} {
		if seen := a.Seen(at.Add(after)); seen.Sub(at) != want {
			t.Errorf("after %v it was seen after %v", after, seen.Sub(at))
		}
	}
}
