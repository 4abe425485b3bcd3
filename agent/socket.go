package agent

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// writeWithin is for how long a line may take nothing of what is written to it:
// as long as it may say nothing.
const writeWithin = wire.PeerTimeout

// A socket is a link's connection. It knows when it was last heard from: any
// byte is a sign of life, even of a message that is long in coming. It can be
// corked: the WebSocket library masks and writes 4 KiB at a time, and a message
// shall be one write.
type socket struct {
	net.Conn
	start time.Time
	heard atomic.Int64 // the last read, in nanoseconds since start

	mu   sync.Mutex // guards what follows, and is held while the connection is written to
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

// release writes what is held back and uncorks the socket. The buffer is its
// owner's again.
func (s *socket) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pull()
}

// Write writes, or holds back. The library calls it for one frame at a time, from
// whichever goroutine, since its reader answers pings; and TLS for one record at a
// time, which none may overtake: what is written goes out in that order.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cork != nil && len(s.cork)+len(p) <= cap(s.cork) {
		s.cork = append(s.cork, p...)
		return len(p), nil
	}
	if err := s.pull(); err != nil {
		return 0, err
	}
	return s.put(p)
}

// pull uncorks the socket. The caller holds mu.
func (s *socket) pull() error {
	held := s.cork
	s.cork = nil
	if len(held) == 0 {
		return nil
	}
	_, err := s.put(held)
	return err
}

// put writes p. It fails with [os.ErrDeadlineExceeded] once the line has taken
// nothing for writeWithin: a thin one may take longer for all of it. The caller
// holds mu, so that nothing comes between; Close, which does not, ends it.
func (s *socket) put(p []byte) (n int, err error) {
	for {
		if err := s.Conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
			return n, err
		}
		took, err := s.Conn.Write(p[n:])
		n += took
		if took == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}
