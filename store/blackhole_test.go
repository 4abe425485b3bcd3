package store

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/store/storetest"
)

// A proxy stands between a store and Redis. It can let the connections that
// there are fall silent, as a firewall does that has forgotten them: no reset,
// no end, and whatever is written is taken.
type proxy struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu     sync.Mutex
	silent chan struct{} // closed: connections made before are silent
	conns  []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, silent: make(chan struct{})}
	p.all.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, near, far)
		silent := p.silent
		p.mu.Unlock()
		p.all.Go(func() { carry(far, near, silent) })
		p.all.Go(func() { carry(near, far, silent) })
	}
}

// carry copies until it is silenced; then it reads on and writes nothing.
func carry(to, from net.Conn, silent <-chan struct{}) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		select {
		case <-silent:
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// silence lets all connections fall silent that there are now.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.silent)
	p.silent = make(chan struct{})
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
}

func TestSilentConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	p := newProxy(t, server.Addr())
	r := replicas(t, 1, RedisConfig{URL: p.url(), Keep: time.Hour})[0]
	other := replicas(t, 1, RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	l := r.register(t, "t", "a")

	p.silence()
	began := time.Now()
	r.Await(t, 5*time.Second, storetest.BusIs(false))
	r.Clear()
	r.Await(t, 5*time.Second, storetest.BusIs(true))
	t.Logf("healed after %v", time.Since(began))
	if err := other.Send(r.id(), frame(3)); err != nil {
		t.Fatal(err)
	}
	storetest.WaitUntil(t, within, "frames arrive", func() bool { return r.Received(other.id()) > 0 })
	storetest.WaitUntil(t, within, "look-ups work", r.linked(t, l))
	if !other.linked(t, l)() {
		t.Error("the lease has expired meanwhile")
	}
}
