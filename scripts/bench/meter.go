package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A meter is a TCP proxy that counts what agents' links carry, and deals new ones out
// to replicas in turn.
type meter struct {
	addr string
	next atomic.Uint64 // of the replicas
	up   tally         // bytes from the agent
	down tally         // to it
}

// A tally counts the bytes that are written to it.
type tally struct{ atomic.Int64 }

func (t *tally) Write(p []byte) (int, error) {
	t.Add(int64(len(p)))
	return len(p), nil
}

// startMeter begins with that one of the replicas.
func (b *bench) startMeter(replicas []string, first int) *meter {
	m := new(meter)
	m.next.Store(uint64(first))
	m.addr = b.Accept(func(near *net.TCPConn) {
		far, err := net.Dial("tcp", replicas[(m.next.Add(1)-1)%uint64(len(replicas))])
		if err != nil {
			return
		}
		var both sync.WaitGroup
		both.Go(func() { carry(far, near, &m.up) })
		both.Go(func() { carry(near, far, &m.down) })
		both.Wait()
	})
	return m
}

// carry copies until either end is gone, and closes both.
func carry(to, from net.Conn, count *tally) {
	_, _ = io.Copy(to, io.TeeReader(from, count))
	_ = to.Close()
	_ = from.Close()
}
