package agent

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A socket is a link's connection. It knows when it was last heard from: any
// byte is a sign of life, even of a message that is long in coming. It can be
// corked: the WebSocket library masks and writes 4 KiB at a time, and a message
// shall be one write.
type socket struct {
	net.Conn
	start time.Time
	heard atomic.Int64 // the last read, in nanoseconds since start

	mu   sync.Mutex // guards what follows
	cork []byte     // what is held back, within its capacity; nil: not corked
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

// hold corks the socket: what is written from here on is kept in buffer, as far
// as it fits.
func (s *socket) hold(buffer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cork = buffer[:0]
}

// release uncorks the socket. The buffer is its owner's again.
func (s *socket) release() error {
	s.mu.Lock()
	held := s.cork
	s.cork = nil
	s.mu.Unlock()
	if len(held) == 0 {
		return nil
	}
	_, err := s.Conn.Write(held)
	return err
}

// Write writes, or holds back. The library calls it for one frame at a time, from
// whichever goroutine: its reader answers pings, and such an answer may overtake
// the message that is being released.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.cork != nil && len(s.cork)+len(p) <= cap(s.cork) {
		s.cork = append(s.cork, p...)
		s.mu.Unlock()
		return len(p), nil
	}
	held := append([]byte(nil), s.cork...) // release may give the buffer away meanwhile
	s.cork = nil
	s.mu.Unlock()
	if len(held) > 0 {
		if _, err := s.Conn.Write(held); err != nil {
			return 0, err
		}
	}
	return s.Conn.Write(p)
}
