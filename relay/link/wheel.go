package link

import (
	"container/ring"
	"sync"
	"time"
)

// Tick is how often [Links.Tend] is to be called, and so how late it may be.
const Tick = 250 * time.Millisecond

// wheelSlots make 16 s of Ticks. A link waits for its next ping for nine at the most:
// only one that is closed already comes to the wheel's end.
const wheelSlots = 64

// A wheel holds links by when they are to be looked at, so that none is for nothing.
// A slot of it is one Tick; what is due beyond the last slot stands there, is looked
// at too soon, and is put off again.
type wheel struct {
	mu    sync.Mutex
	turn  int64                 // the last slot that has come; the first is 1
	at    time.Duration         // when its Tick was due, by the replica's clock
	slots [wheelSlots]ring.Ring // each between the links that stand there
}

// add has a link looked at with the next Tick.
func (w *wheel) add(l *Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.seat.Value = l
	w.standLocked(l, w.at)
}

// remove takes a link out, wherever it stands.
func (w *wheel) remove(l *Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.seat.Prev().Unlink(1)
}

// move has a link looked at with the first Tick after it is due, by the replica's
// clock, unless it was removed.
func (w *wheel) move(l *Link, due time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if before := l.seat.Prev(); before != &l.seat {
		before.Unlink(1)
		w.standLocked(l, due)
	}
}

func (w *wheel) standLocked(l *Link, due time.Duration) {
	wait := min(max(due-w.at, Tick), (wheelSlots-1)*Tick)
	turn := w.turn + int64((wait+Tick-1)/Tick)
	w.slots[turn%wheelSlots].Link(&l.seat)
}

// turnTo turns the wheel with a Tick, and returns the links whose slots have come,
// which stand there until they are moved. Ticks come a little late or early: each is
// taken for the one that it is nearest to.
func (w *wheel) turnTo(at time.Duration) (due []*Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turn == 0 {
		w.at = at - Tick
	}
	n := int64((max(at, w.at) - w.at + Tick/2) / Tick)
	for turn := w.turn + max(1, n-wheelSlots+1); turn <= w.turn+n; turn++ {
		slot := &w.slots[turn%wheelSlots]
		for s := slot.Next(); s != slot; s = s.Next() {
			due = append(due, s.Value.(*Link))
		}
	}
	w.turn += n
	w.at += time.Duration(n) * Tick
	return due
}
