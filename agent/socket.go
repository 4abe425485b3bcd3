package agent

import (
	"net"
	"sync/atomic"
	"time"
)

// A socket is a link's connection. It knows when it was last heard from: any
// byte is a sign of life, even of a message that is long in coming.
type socket struct {
	net.Conn
	start time.Time
	heard atomic.Int64 // the last read, in nanoseconds since start
}

func newSocket(conn net.Conn) *socket { return &socket{Conn: conn, start: time.Now()} }

// Read reads, and notes the time.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.heard.Store(int64(time.Since(s.start)))
	}
	return n, err
}

// silence is how long ago the last byte came.
func (s *socket) silence() time.Duration {
	return time.Since(s.start) - time.Duration(s.heard.Load())
}
