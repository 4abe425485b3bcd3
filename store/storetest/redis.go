// Package storetest is the suite that every store passes, and the real Redis
// that it and other packages' tests run against.
package storetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startWithin is how long a server may take to answer: a loaded machine may be
// slow to start a process.
const startWithin = 20 * time.Second

// A RedisServer is a redis-server that a test has started. It keeps nothing on
// disk, so it comes back empty.
type RedisServer struct {
	tb   testing.TB
	bin  string
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
}

// Binary returns the path of a program that a test needs. Where it is missing
// the test is skipped, or fails if FARSCRAPE_TEST_REQUIRE is 1.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("FARSCRAPE_TEST_REQUIRE") == "1":
		tb.Fatalf("%s is needed (FARSCRAPE_TEST_REQUIRE=1): %v", name, err)
	default:
		tb.Skipf("no %s on this machine: %v", name, err)
	}
	return ""
}

// StartRedis starts a redis-server on a free port of the loopback address, with
// extra arguments such as "--requirepass", "secret", and stops it with the test.
func StartRedis(tb testing.TB, extraArgs ...string) *RedisServer {
	tb.Helper()
	s := &RedisServer{tb: tb, bin: Binary(tb, "redis-server"), dir: tb.TempDir(), port: FreePort(tb), args: extraArgs}
	tb.Cleanup(s.Stop)
	s.Start()
	return s
}

// FreePort returns a TCP port of the loopback address that nobody listens on.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if port < 55535 { // a Cluster's bus needs the port 10,000 above
			return port
		}
	}
}

// Start starts the server again, on the same port, after Stop or Kill.
func (s *RedisServer) Start() {
	s.tb.Helper()
	log := filepath.Join(s.dir, "redis.log")
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", s.dir, "--logfile", log,
	}, s.args...)
	s.launch(args...)
}

// launch starts the program and waits until it listens.
func (s *RedisServer) launch(args ...string) {
	s.tb.Helper()
	s.cmd = exec.Command(s.bin, args...)
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	WaitUntil(s.tb, startWithin, s.bin+" listens", func() bool {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

// Addr is the server's host:port.
func (s *RedisServer) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the server's port.
func (s *RedisServer) Port() int { return s.port }

// URL is the server's redis:// URL, without credentials.
func (s *RedisServer) URL() string { return "redis://" + s.Addr() }

// Do runs a command on the server, by a connection of its own, and returns the
// reply as text. It is for a server without a password.
func (s *RedisServer) Do(args ...any) string {
	s.tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2, DisableIdentity: true})
	defer client.Close()
	reply, err := client.Do(context.Background(), args...).Result()
	if err != nil && err != redis.Nil {
		s.tb.Fatalf("redis %v: %v", args, err)
	}
	return fmt.Sprint(reply)
}

// Stop ends the server in order. It may be called twice.
func (s *RedisServer) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server at once.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

func (s *RedisServer) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Pause stops the server's process where it stands: its connections stay open
// and answer nothing.
func (s *RedisServer) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *RedisServer) Resume() { s.signal(syscall.SIGCONT) }

func (s *RedisServer) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatal(err)
	}
}

// WaitUntil waits until is true, and fails the test if that takes longer than
// within.
func WaitUntil(tb testing.TB, within time.Duration, what string, is func() bool) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for !is() {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}
