package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// A recorder is a connection that notes each write.
type recorder struct {
	net.Conn
	mu     sync.Mutex
	writes []string
	err    error
}

func (r *recorder) Write(p []byte) (int, error) {
	runtime.Gosched() // as a system call may
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	r.writes = append(r.writes, string(p))
	return len(p), nil
}

func write(t *testing.T, s *socket, p string) {
	t.Helper()
	if n, err := s.Write([]byte(p)); n != len(p) || err != nil {
		t.Errorf("%q: %d, %v", p, n, err)
	}
}

func TestACorkedSocketWritesAtOnceWhatItHeldBack(t *testing.T) {
	for what, c := range map[string]struct {
		room   int
		writes []string
		want   []string // the last one by release, if late
		late   bool
	}{
		"it fits":                   {8, []string{"abc", "def"}, []string{"abcdef"}, true},
		"it just fits":              {6, []string{"abc", "def"}, []string{"abcdef"}, true},
		"the rest does not fit":     {5, []string{"abc", "def", "g"}, []string{"abc", "def", "g"}, false},
		"nothing fits":              {2, []string{"abc", "def"}, []string{"abc", "def"}, false},
		"nothing is written at all": {8, nil, nil, false},
	} {
		conn := new(recorder)
		s := newSocket(conn)
		write(t, s, "before")
		buffer := make([]byte, c.room)
		s.hold(buffer)
		for _, p := range c.writes {
			write(t, s, p)
		}
		if c.late && len(conn.writes) != 1 {
			t.Errorf("%s: wrote %q while corked", what, conn.writes)
		}
		if err := s.release(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		clear(buffer) // it is its owner's again
		write(t, s, "after")
		if want := slices.Concat([]string{"before"}, c.want, []string{"after"}); !slices.Equal(conn.writes, want) {
			t.Errorf("%s: wrote %q, want %q", what, conn.writes, want)
		}
	}
}

func TestWhatASocketHoldsBackFailsWhenItIsWritten(t *testing.T) {
	broken := errors.New("broken")
	s := newSocket(&recorder{err: broken})
	s.hold(make([]byte, 4))
	write(t, s, "abc")
	if err := s.release(); !errors.Is(err, broken) {
		t.Errorf("release: %v", err)
	}
	s.hold(make([]byte, 4))
	write(t, s, "abc")
	if _, err := s.Write([]byte("def")); !errors.Is(err, broken) {
		t.Errorf("what does not fit: %v", err)
	}
}

// The WebSocket library writes one frame at a time, but its reader's pong may
// come at any point between hold and release.
func TestAFrameOfAnotherGoroutineLosesNothingOfACorkedSocket(t *testing.T) {
	const n = 2000
	for _, room := range []int{12, 16, 24, 100} { // a frame is 12 bytes long
		conn := new(recorder)
		s := newSocket(conn)
		var frame sync.Mutex // the library's
		var group sync.WaitGroup
		group.Go(func() {
			for i := range n {
				frame.Lock()
				write(t, s, fmt.Sprintf("pong %06d\n", i))
				frame.Unlock()
			}
		})
		buffer := make([]byte, room)
		for i := range n {
			s.hold(buffer)
			frame.Lock()
			write(t, s, "data ")
			write(t, s, fmt.Sprintf("%06d\n", i))
			frame.Unlock()
			runtime.Gosched() // a pong's turn
			if err := s.release(); err != nil {
				t.Error(err)
			}
			clear(buffer)
		}
		group.Wait()
		var data, pongs []string
		for line := range strings.Lines(strings.Join(conn.writes, "")) {
			if strings.HasPrefix(line, "data ") {
				data = append(data, line)
			} else {
				pongs = append(pongs, line)
			}
		}
		// A pong may overtake what release is about to write, even a pong.
		slices.Sort(pongs)
		for i := range n {
			if len(data) != n || data[i] != fmt.Sprintf("data %06d\n", i) || len(pongs) != n || pongs[i] != fmt.Sprintf("pong %06d\n", i) {
				t.Fatalf("room for %d: %d and %d frames came, or not as they were written: %.200q", room, len(data), len(pongs), conn.writes)
			}
		}
	}
}

func TestPongsAndLargeAnswersShareALink(t *testing.T) {
	body := strings.Repeat("0123456789", 20_000)
	l := linked(t, text(body))
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := l.conn.Ping(context.Background()); err != nil {
				t.Errorf("ping: %v", err)
				return
			}
		}
	})
	for range 20 {
		if r := l.reply(l.request("app")); r.reason() != wire.OK || string(r.body) != body {
			t.Errorf("%v after %d bytes", r.reason(), len(r.body))
		}
	}
	close(stop)
	group.Wait()
}
