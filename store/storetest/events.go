package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// Events records what a store tells its replica.
type Events struct {
	mu     sync.Mutex
	all    []string
	frames map[wire.ReplicaID][]byte

	revoked *wire.Revocations           // nil: nothing was said
	Closes  map[wire.RevokedSubject]int // what its replica answers to what is revoked; set before it runs
}

// Revoked returns what is taken back; nil if nothing was said of it.
func (e *Events) Revoked() *wire.Revocations {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.revoked
}

// Callbacks are what to give to Run.
func (e *Events) Callbacks() wire.StoreEvents {
	return wire.StoreEvents{
		Frames: func(from wire.ReplicaID, frames []byte) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.frames == nil {
				e.frames = make(map[wire.ReplicaID][]byte)
			}
			e.frames[from] = append(e.frames[from], frames...)
		},
		Gap:        func(from wire.ReplicaID) { e.add(GapOf(from)) },
		Unheard:    func(to wire.ReplicaID) { e.add(UnheardOf(to)) },
		Bus:        func(up bool) { e.add(BusIs(up)) },
		Registered: func(link wire.LinkID, epoch uint64) { e.add(RegisteredAs(link)) },
		Lost: func(link wire.LinkID, why error) {
			if errors.As(why, new(*wire.LimitError)) {
				e.add(OverLimit(link))
				return
			}
			e.add(LostTo(link, why))
		},
		Revoked: func(set *wire.Revocations) map[wire.RevokedSubject]int {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.revoked = set
			return e.Closes
		},
	}
}

// The events, as Events records them.
func GapOf(from wire.ReplicaID) string          { return fmt.Sprintf("gap %s", from) }
func UnheardOf(to wire.ReplicaID) string        { return fmt.Sprintf("unheard %s", to) }
func BusIs(up bool) string                      { return fmt.Sprintf("bus %t", up) }
func RegisteredAs(link wire.LinkID) string      { return fmt.Sprintf("registered %s", link) }
func OverLimit(link wire.LinkID) string         { return fmt.Sprintf("over a limit %s", link) }
func LostTo(link wire.LinkID, why error) string { return fmt.Sprintf("lost %s: %v", link, why) }

func (e *Events) add(event string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// All returns what has happened so far, but for frames.
func (e *Events) All() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

// Clear forgets what has happened.
func (e *Events) Clear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all, e.frames = nil, nil
}

// Has reports whether the event has happened.
func (e *Events) Has(event string) bool { return slices.Contains(e.All(), event) }

// Frames returns the frames received from a replica, one after the other.
func (e *Events) Frames(from wire.ReplicaID) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.frames[from])
}

// Received is how many bytes of frames came from a replica.
func (e *Events) Received(from wire.ReplicaID) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.frames[from])
}

// Await waits until the event has happened.
func (e *Events) Await(tb testing.TB, within time.Duration, event string) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for !e.Has(event) {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %q; there was %q", within, event, e.All())
		}
		time.Sleep(2 * time.Millisecond) // between two looks
	}
}
