package attempt

import (
	"strconv"
	"strings"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// Pools of credit, in bytes.
const (
	// busPool is shared by the answers of all bus scrapes of an edge. It is as
	// much as Redis lets a slow subscriber queue for longer than a minute, and a
	// quarter of what it lets one queue at all (client-output-buffer-limit pubsub
	// 32mb 8mb 60); relay/decisions/credit-pool.md.
	busPool = 8 << 20
	// localPool is shared by the local windows for all beyond their base: as many
	// begin with LocalWindow as it has room for, and grow from there.
	localPool = 64 << 20
	// holdWindow is the window that an answer over the bus asks for: as much
	// as a local one has.
	holdWindow = wire.LocalWindow
)

// A window is how much of one answer may be on its way: granted to the agent
// and not yet read here. It begins at a base of its own, and borrows from a
// pool.
type window struct {
	pool     *share.Pool
	owner    share.Member // its agent
	size     int          // base and what is borrowed
	base     int
	most     int   // size never goes beyond
	granted  int64 // all credit ever given
	received int64
	read     int64
	length   int64 // of the body; -1 while unknown
}

// localWindow is for a link held here. It begins with LocalWindow, unless the
// answers of others fill the pool that moment: agents that begin answers and end
// none must not fill the memory.
func localWindow(pool *share.Pool, k wire.AgentKey) window {
	w := window{pool: pool, owner: share.Of(k), base: wire.BusWindow, size: wire.BusWindow, most: wire.MaxWindow, length: -1}
	w.borrow(wire.LocalWindow - w.size)
	w.granted = int64(w.size)
	return w
}

// busWindow is for a link on another replica. If the target's last answer was
// larger than the base, and the pool is mostly free, it begins with enough.
func busWindow(pool *share.Pool, k wire.AgentKey, lastLength int64) window {
	w := window{pool: pool, owner: share.Of(k), base: wire.BusWindow, size: wire.BusWindow, most: holdWindow, length: -1}
	if lastLength > wire.BusWindow && pool.Taken() < busPool/2 {
		w.borrow(int(min(lastLength+lastLength/8, holdWindow)) - w.size)
	}
	w.granted = int64(w.size)
	return w
}

// answerBegins takes note of the body's length, if it is known, and returns the
// credit to grant now: none to one that had enough from the start.
func (w *window) answerBegins(length int64) int {
	w.length = length
	want := int64(holdWindow)
	if length >= 0 {
		want = min(want, length)
	}
	return w.widen(int(want) - w.size)
}

// take notes received bytes; false if they were not granted.
func (w *window) take(n int) bool {
	w.received += int64(n)
	return w.received <= w.granted
}

// full reports whether holding the answer back any longer might stop the agent:
// little credit is left and the rest of the body needs more.
func (w *window) full() bool {
	if w.length >= 0 && w.length <= w.granted {
		return false
	}
	return w.granted-w.received <= wire.HoldReserve
}

// consumed notes that n bytes were read, and returns the credit to grant now:
// nothing until a quarter of the window is free, to save frames. A reader that
// keeps up with the agent gets twice the window.
func (w *window) consumed(n int, keepsUp bool) int {
	w.read += int64(n)
	if w.length >= 0 && w.granted >= w.length {
		return 0 // the rest is granted already
	}
	free := w.size - int(w.granted-w.read)
	if free < w.size/4 {
		return 0
	}
	if keepsUp && w.size < w.most {
		w.borrow(min(w.size, w.most-w.size))
		free = w.size - int(w.granted-w.read)
	}
	w.granted += int64(free)
	return free
}

func (w *window) widen(n int) int {
	if n <= 0 {
		return 0
	}
	n = w.borrow(n)
	w.granted += int64(n)
	return n
}

// wide reports whether the window was lent so much that it fills large segments.
func (w *window) wide() bool { return w.size >= largeSegment/2 }

func (w *window) borrow(n int) int {
	n = w.pool.Lend(w.owner, n)
	w.size += n
	return n
}

// close gives back what was borrowed.
func (w *window) close() {
	w.pool.Give(w.owner, float64(w.size-w.base))
	w.size = w.base
}

// contentLength reads the body's length off an answer's header; -1 if it is not
// there.
func contentLength(fields []wire.Field) int64 {
	for _, f := range fields {
		if strings.EqualFold(f.Name, "Content-Length") {
			if n, err := strconv.ParseInt(f.Value, 10, 64); err == nil && n >= 0 {
				return n
			}
		}
	}
	return -1
}
