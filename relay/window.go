package relay

import (
	"strconv"
	"strings"
	"sync"

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
	pool     *creditPool
	key      wire.AgentKey
	size     int // base and what is borrowed
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
func localWindow(pool *creditPool, k wire.AgentKey) window {
	w := window{pool: pool, key: k, base: wire.BusWindow, size: wire.BusWindow, most: wire.MaxWindow, length: -1}
	w.borrow(wire.LocalWindow - w.size)
	w.granted = int64(w.size)
	return w
}

// busWindow is for a link on another replica. If the target's last answer was
// larger than the base, and the pool is mostly free, it begins with enough.
func busWindow(pool *creditPool, k wire.AgentKey, lastLength int64) window {
	w := window{pool: pool, key: k, base: wire.BusWindow, size: wire.BusWindow, most: holdWindow, length: -1}
	if lastLength > wire.BusWindow && pool.mostlyFree() {
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
	n = w.pool.borrow(w.key, n)
	w.size += n
	return n
}

// close gives back what was borrowed.
func (w *window) close() {
	w.pool.giveBack(w.key, w.size-w.base)
	w.size = w.base
}

// A creditPool lends credit, in bytes. Nobody can empty it: one scrape is lent
// at most an eighth of what is free, the scrapes of one agent together never
// hold more than is free then, those of one tenant never more than twice that
// (dynamic thresholds, as switches share their buffers). So sixteen slow
// targets leave enough for the seventeenth.
type creditPool struct {
	size int

	mu      sync.Mutex
	lent    int
	agents  map[wire.AgentKey]int
	tenants map[string]int
}

// borrow lends up to n bytes.
func (p *creditPool) borrow(k wire.AgentKey, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.size - p.lent
	n = min(n, free/8, free-p.agents[k], 2*free-p.tenants[k.Tenant])
	if n <= 0 {
		return 0
	}
	if p.agents == nil {
		p.agents = make(map[wire.AgentKey]int)
		p.tenants = make(map[string]int)
	}
	p.lent += n
	p.agents[k] += n
	p.tenants[k.Tenant] += n
	return n
}

func (p *creditPool) giveBack(k wire.AgentKey, n int) {
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lent -= n
	if p.agents[k] -= n; p.agents[k] == 0 {
		delete(p.agents, k)
	}
	if p.tenants[k.Tenant] -= n; p.tenants[k.Tenant] == 0 {
		delete(p.tenants, k.Tenant)
	}
}

func (p *creditPool) mostlyFree() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lent < p.size/2
}

func (p *creditPool) borrowed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lent
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
