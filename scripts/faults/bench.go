package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// A bench is what one fault's processes are started on and cleaned off again.
// It stands in for a test, since store/storetest starts its servers for one;
// whatever cannot go on panics with broken, which the trial recovers.
type bench struct {
	testing.TB // nil: for its private method; storetest calls only what is below
	ctx        context.Context
	dir        string
	cleanups   []func()
}

// broken says why a trial could not be carried out.
type broken struct{ why string }

func newBench(ctx context.Context, dir string) *bench {
	return &bench{ctx: ctx, dir: dir}
}

func (b *bench) Helper() {}

func (b *bench) Cleanup(f func()) { b.cleanups = append(b.cleanups, f) }

func (b *bench) Fatal(args ...any) { panic(broken{fmt.Sprint(args...)}) }

func (b *bench) Fatalf(format string, args ...any) { panic(broken{fmt.Sprintf(format, args...)}) }

// Skipf is called where a program is missing.
func (b *bench) Skipf(format string, args ...any) { b.Fatalf(format, args...) }

func (b *bench) TempDir() string {
	dir, err := os.MkdirTemp(b.dir, "")
	b.must(err)
	return dir
}

func (b *bench) must(err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// clear takes everything down, the last first.
func (b *bench) clear() {
	for i := len(b.cleanups) - 1; i >= 0; i-- {
		b.cleanups[i]()
	}
	b.cleanups = nil
}

// wait lets time pass: it is what a fault consists of.
func (b *bench) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.ctx.Done():
		b.Fatal("interrupted")
	}
}

// until waits for is, and gives up after within.
func (b *bench) until(within time.Duration, what string, is func() bool) {
	if _, ok := b.poll(within, is); !ok {
		b.Fatalf("not within %v: %s", within, what)
	}
}

// poll waits for is, and says how long that took.
func (b *bench) poll(within time.Duration, is func() bool) (took time.Duration, ok bool) {
	began := time.Now()
	for !is() {
		if time.Since(began) > within {
			return within, false
		}
		b.wait(20 * time.Millisecond)
	}
	return time.Since(began), true
}

// freePort finds an address of the loopback that nobody listens on. It lies
// below the ports that outgoing connections are given, so that it is still free
// when a process that was stopped wants it back.
func (b *bench) freePort() string {
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
}
