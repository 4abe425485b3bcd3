package link

import (
	"math/rand/v2"
	"testing"
	"time"
)

// standing counts the links in a wheel.
func (w *wheel) standing() (n int) {
	for i := range w.slots {
		n += w.slots[i].Len() - 1
	}
	return n
}

// Links come and go, each is due at times of its own, near or beyond the wheel's end,
// and the ticks are late, or do not come at all for a while.
func TestAWheelLosesNoLinkAndKeepsNone(t *testing.T) {
	var w wheel
	began, most := rand.N(Tick), Tick/4
	due := make(map[*Link]time.Duration)
	looks, met := 0, 0
	for i := range 5000 {
		for range rand.N(4) {
			l := &Link{}
			w.add(l)
			due[l] = 0
		}
		if i%100 == rand.N(100) {
			began += rand.N[time.Duration](200) * Tick
		}
		tick := began + time.Duration(i)*Tick
		at := tick + rand.N(most)
		for _, l := range w.turnTo(at) {
			looks++
			if _, there := due[l]; !there {
				t.Fatal("a link that was removed is looked at")
			}
			if due[l] <= at {
				met++
				due[l] = at + rand.N(10*time.Second)*rand.N[time.Duration](4)
			}
			if rand.N(20) == 0 {
				w.remove(l)
				delete(due, l)
			}
			w.move(l, due[l])
		}
		for l, d := range due {
			if d < tick {
				t.Fatalf("at %s, a link due at %s was not looked at", tick, d)
			}
			if rand.N(500) == 0 {
				w.remove(l)
				delete(due, l)
			}
		}
		if n := w.standing(); n != len(due) {
			t.Fatalf("%d of %d links stand in the wheel", n, len(due))
		}
	}
	if looks > met*2 {
		t.Errorf("links were looked at %d times, and %d times something was due", looks, met)
	}
}

func TestAWheelDoesNotTurnBack(t *testing.T) {
	var w wheel
	l := &Link{}
	w.turnTo(time.Minute)
	w.add(l)
	if due := w.turnTo(time.Second); len(due) > 0 {
		t.Error("a link is due in the past")
	}
	if due := w.turnTo(time.Minute + Tick); len(due) != 1 {
		t.Error("a link is not looked at with the next tick")
	}
}
