package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A recorder is a connection that notes each write.
type recorder struct {
	net.Conn
	mu     sync.Mutex
	writes []string
	err    error
}

func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

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
func TestNothingOvertakesWhatACorkedSocketHoldsBack(t *testing.T) {
	const n = 2000
	for _, room := range []int{12, 16, 24, 100} { // a frame is 12 bytes long
		conn := new(recorder)
		s := newSocket(conn)
		var frame sync.Mutex // the library's
		var order strings.Builder
		send := func(parts ...string) {
			frame.Lock()
			defer frame.Unlock()
			for _, p := range parts {
				order.WriteString(p)
				write(t, s, p)
			}
		}
		var group sync.WaitGroup
		group.Go(func() {
			for i := range n {
				send(fmt.Sprintf("pong %06d\n", i))
				runtime.Gosched()
			}
		})
		buffer := make([]byte, room)
		for i := range n {
			s.hold(buffer)
			send("data ", fmt.Sprintf("%06d\n", i))
			runtime.Gosched() // a pong's turn
			if err := s.release(); err != nil {
				t.Error(err)
			}
			clear(buffer)
		}
		group.Wait()
		if got := strings.Join(conn.writes, ""); got != order.String() {
			t.Fatalf("room for %d: %d of %d bytes came, or not in the order they were written in", room, len(got), order.Len())
		}
	}
}

func TestPongsAndLargeAnswersShareALink(t *testing.T) {
	body := strings.Repeat("0123456789", 20_000)
	l := linked(t, text(body))
	sharing(t, l, body, 20)
}

// Over TLS a record that overtakes another ends the connection: bad_record_mac.
func TestPongsAndLargeAnswersShareALinkOverTLS(t *testing.T) {
	body := strings.Repeat("0123456789", 4_000) // fits a message, in three records
	targets := serve(t, text(body))
	relay, server := relayOn(t, func(*httptest.Server) {})
	run(t, Config{RelayURL: server.URL, Token: "x", TLSCAFile: caFile(t, server), Targets: "app=http://app.internal:8080/metrics"},
		Options{dialTarget: targets.dial, dialRelay: dialYielding})
	l := relay.link()
	l.welcome(1)
	sharing(t, l, body, 300)
}

// A yielding connection lets others run before it writes what was held back, as
// a system call may.
type yielding struct{ net.Conn }

func (c yielding) Write(p []byte) (int, error) {
	if len(p) > 4<<10 {
		for range 10 {
			runtime.Gosched()
		}
	}
	return c.Conn.Write(p)
}

func dialYielding(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return yielding{conn}, err
}

// sharing scrapes, again and again, while the relay pings as fast as it can.
func sharing(t *testing.T, l *fakeLink, body string, times int) {
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			if err := l.conn.Ping(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("ping: %v", err)
				return
			}
		}
	})
	defer group.Wait()
	defer stop()
	for range times {
		if r := l.reply(l.request("app")); r.reason() != wire.OK || string(r.body) != body {
			t.Fatalf("%v after %d bytes", r.reason(), len(r.body))
		}
	}
}
