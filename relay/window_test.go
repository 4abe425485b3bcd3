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
	for name, size := range map[string]int{"empty": 0, "a byte each": 1} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
				a := owner.dial(dialOptions{})
				before := heapInUse()
				done := edge.scrape(20 * time.Second)
				f, _ := a.request()
				a.send(head(f))
				a.flood(reply(f, wire.TypeData, make([]byte, size)), 40)
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
