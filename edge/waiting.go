package edge

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// mostWaiting bounds the connections of a listener that wait for a request. Each
// takes some 16 KiB: 128 MiB in all. A Prometheus with proxy_url keeps one for
// each target's address.
const mostWaiting = 8192

// maxWaiting is mostWaiting, or a quarter of the descriptors that the process may
// have, if that is less: there are up to three listeners, and agents' links, the
// connections that are being answered and Redis's need some, too.
func maxWaiting() int {
	if n := descriptors(); n > 0 {
		return max(min(n/4, mostWaiting), 1)
	}
	return mostWaiting
}

// A waitingRoom knows the connections of a server. When too many wait for a
// request, new ones and idle ones, it closes the one that has waited for longest.
// One that is being answered it never closes; a hijacked one it does not know.
type waitingRoom struct {
	most int

	mu      sync.Mutex
	conns   list.List // of *conn; in the order in which they began to wait, or to be served
	waiting int
}

func newWaitingRoom(most int) *waitingRoom { return &waitingRoom{most: most} }

type connKey struct{}

// context is a server's ConnContext.
func (room *waitingRoom) context(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, connOf(c))
}

// serving is handler, before which a connection ceases to wait.
func (room *waitingRoom) serving(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok && c != nil {
			c.served = true
			room.move(c, false)
		}
		handler.ServeHTTP(w, r)
	})
}

// changed is a server's ConnState.
func (room *waitingRoom) changed(of net.Conn, state http.ConnState) {
	c := connOf(of)
	if c == nil {
		return
	}
	switch state {
	case http.StateIdle:
		c.served = false
		c.spoke.Store(false)
		fallthrough
	case http.StateNew, http.StateActive: // whose request begins to come
		if oldest := room.move(c, true); oldest != nil {
			_ = oldest.Close()
		}
	case http.StateHijacked, http.StateClosed:
		room.leave(c)
	}
}

// move puts a connection last, and returns one that has to go.
func (room *waitingRoom) move(c *conn, waits bool) (tooMany *conn) {
	room.mu.Lock()
	defer room.mu.Unlock()
	if c.place == nil {
		c.place = room.conns.PushBack(c)
	} else {
		room.conns.MoveToBack(c.place)
	}
	room.count(c, waits)
	if room.waiting <= room.most {
		return nil
	}
	for e := room.conns.Front(); e != nil; e = e.Next() {
		if oldest := e.Value.(*conn); oldest.waiting {
			room.remove(oldest)
			return oldest
		}
	}
	return nil
}

func (room *waitingRoom) leave(c *conn) {
	room.mu.Lock()
	defer room.mu.Unlock()
	if c.place != nil {
		room.remove(c)
	}
}

// remove takes a connection out. The room's mu is held.
func (room *waitingRoom) remove(c *conn) {
	room.count(c, false)
	room.conns.Remove(c.place)
	c.place = nil
}

// count notes whether a connection waits. The room's mu is held.
func (room *waitingRoom) count(c *conn, waits bool) {
	if c.waiting != waits {
		c.waiting = waits
		if waits {
			room.waiting++
		} else {
			room.waiting--
		}
	}
}
