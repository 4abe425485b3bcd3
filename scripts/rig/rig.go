// Package rig is what the fault campaign, the attacks and the benchmark stand on:
// the commands under test and the servers around them, started as processes on
// this machine, watched, and taken down.
package rig

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

// A Rig is what processes are started on and cleaned off again. It stands in for
// a test, since store/storetest starts its servers for one; whatever cannot go on
// panics with Broken, which whoever made the rig recovers.
type Rig struct {
	testing.TB // nil: for its private method; storetest calls only what is below
	Ctx        context.Context
	Dir        string // of logs and other files
	cleanups   []func()
}

// Broken says why something could not be carried out.
type Broken struct{ Why string }

// New makes a rig in a folder that is there. Whatever waits ends with ctx.
func New(ctx context.Context, dir string) *Rig {
	return &Rig{Ctx: ctx, Dir: dir}
}

// Helper does nothing.
func (r *Rig) Helper() {}

// Cleanup has Clear call f.
func (r *Rig) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// Fatal gives up.
func (r *Rig) Fatal(args ...any) { panic(Broken{fmt.Sprint(args...)}) }

// Fatalf gives up.
func (r *Rig) Fatalf(format string, args ...any) { panic(Broken{fmt.Sprintf(format, args...)}) }

// Skipf is called where a program is missing.
func (r *Rig) Skipf(format string, args ...any) { r.Fatalf(format, args...) }

// TempDir makes a folder in the rig's.
func (r *Rig) TempDir() string {
	dir, err := os.MkdirTemp(r.Dir, "")
	r.Must(err)
	return dir
}

// Must is for what only fails if the machine does.
func (r *Rig) Must(err error) {
	if err != nil {
		r.Fatal(err)
	}
}

// Clear takes everything down, the last first.
func (r *Rig) Clear() {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	r.cleanups = nil
}

// Wait lets time pass.
func (r *Rig) Wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Ctx.Done():
		r.Fatal("interrupted")
	}
}

// Until waits for is, and gives up after within.
func (r *Rig) Until(within time.Duration, what string, is func() bool) {
	if _, ok := r.Poll(within, is); !ok {
		r.Fatalf("not within %v: %s", within, what)
	}
}

// Poll waits for is, and says how long that took.
func (r *Rig) Poll(within time.Duration, is func() bool) (took time.Duration, ok bool) {
	began := time.Now()
	for !is() {
		if time.Since(began) > within {
			return within, false
		}
		r.Wait(20 * time.Millisecond)
	}
	return time.Since(began), true
}

// FreePort finds an address of the loopback that nobody listens on. It lies
// below the ports that outgoing connections are given, so that it is still free
// when a process that was stopped wants it back.
func (r *Rig) FreePort() string {
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
}
