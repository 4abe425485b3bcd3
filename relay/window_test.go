package relay_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestPiecesOfABodyTakeNoMoreMemoryThanItsWindow(t *testing.T) {
	for name, c := range map[string]struct{ size, messages int }{
		"empty":       {0, 1}, // more would be a flood of what nobody asked for
		"a byte each": {1, 40},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
				a := owner.dial(dialOptions{})
				before := heapInUse()
				done := edge.scrape(20 * time.Second)
				f, _ := a.request()
				a.send(head(f))
				a.flood(reply(f, wire.TypeData, make([]byte, c.size)), c.messages)
				other := edge.scrape(20 * time.Second)
				g, _ := a.request()
				a.answer(g, "comes after all that")
				<-other
				if after := heapInUse(); after > before+2<<20 {
					t.Errorf("%d KiB more are held", (after-before)>>10)
				}
				a.send(end(f, nil))
				<-done
			})
		})
	}
}
