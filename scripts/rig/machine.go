package rig

import (
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
)

// Find finds a program, on PATH or where Debian has those of servers.
func Find(name string) (path string, err error) {
	if path, err = exec.LookPath(name); err != nil {
		if server, missing := exec.LookPath("/usr/sbin/" + name); missing == nil {
			return server, nil
		}
	}
	return path, err
}

// FreePort finds an address of the loopback that nobody listens on. It lies
// below the ports that outgoing connections are given, so that it is still free
// when a process that was stopped wants it back.
func FreePort() string {
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
}

// Listens reports whether somebody does.
func Listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// Serve has a handler answer HTTP until the rig is cleared.
func (r *Rig) Serve(h http.Handler) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.Must(err)
	server := &http.Server{Handler: h}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	r.Cleanup(func() { _ = server.Close(); running.Wait() })
	return l.Addr().String()
}

// Accept serves TCP until the rig is cleared, and then closes what is open. Whoever
// serves a connection need not close it.
func (r *Rig) Accept(serve func(*net.TCPConn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.Must(err)
	var running sync.WaitGroup
	var open sync.Map
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(conn, nil)
			running.Go(func() {
				defer open.Delete(conn)
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			})
		}
	})
	r.Cleanup(func() {
		_ = l.Close()
		open.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		running.Wait()
	})
	return l.Addr().String()
}
