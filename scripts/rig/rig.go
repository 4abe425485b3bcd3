// Package rig is what the end-to-end tests, the fault campaign, the attacks and the
// benchmark stand on: the commands under test and the servers around them, started
// as processes on this machine, watched, and taken down.
package rig

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// Patience is how long is waited for what should happen at once, on a machine that
// is busy with other things.
const Patience = 30 * time.Second

// A Rig is what processes are started on and cleaned off again. It is a test's, or
// stands in for one, since store/storetest starts its servers for a test.
type Rig struct {
	testing.TB
	Ctx context.Context // whatever waits ends with it
	Dir string          // of logs and other files, which is there

	mu        sync.Mutex // guards what follows
	cleanups  []func()
	processes []*Process
}

// New makes a rig without a test, which Clear takes down. Whatever cannot go on
// there panics with Broken, which Try recovers.
func New(ctx context.Context, dir string) *Rig {
	return &Rig{TB: noTest{}, Ctx: ctx, Dir: dir}
}

// ForTest makes a rig that ends with the test.
func ForTest(tb testing.TB) *Rig {
	r := &Rig{TB: tb, Ctx: tb.Context(), Dir: tb.TempDir()}
	tb.Cleanup(r.Clear)
	return r
}

// noTest gives up by panicking. It has what a Rig and storetest call.
type noTest struct {
	testing.TB // nil: for its private method
}

// Broken says why something could not be carried out.
type Broken struct{ Why string }

func (b Broken) Error() string { return b.Why }

func (noTest) Helper()                           {}
func (noTest) Fatal(args ...any)                 { panic(Broken{fmt.Sprint(args...)}) }
func (noTest) Fatalf(format string, args ...any) { panic(Broken{fmt.Sprintf(format, args...)}) }

// Skipf is called where a program is missing.
func (t noTest) Skipf(format string, args ...any) { t.Fatalf(format, args...) }

// Try does something, and returns the Broken that it gave up with.
func Try(do func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			broken, ok := p.(Broken)
			if !ok {
				panic(p)
			}
			err = broken
		}
	}()
	do()
	return nil
}

// Cleanup has Clear call f.
func (r *Rig) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// Clear takes everything down, the last first.
func (r *Rig) Clear() {
	r.mu.Lock()
	cleanups := r.cleanups
	r.cleanups = nil
	r.mu.Unlock()
	for i := len(cleanups) - 1; i >= 0; i-- {
		cleanups[i]()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.processes = nil
}

// TempDir makes a folder in the rig's.
func (r *Rig) TempDir() string {
	dir, err := os.MkdirTemp(r.Dir, "")
	r.Must(err)
	return dir
}

// Must is for what only fails if the machine does.
func (r *Rig) Must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// Wait lets time pass.
func (r *Rig) Wait(d time.Duration) {
	if !wait(r.Ctx, d) {
		r.Fatal("interrupted")
	}
}

// Until waits for is, and gives up after within.
func (r *Rig) Until(within time.Duration, what string, is func() bool) {
	r.Helper()
	if _, ok := r.Poll(within, is); !ok {
		r.Fatalf("not within %v: %s", within, what)
	}
}

// Poll waits for is, and says how long that took.
func (r *Rig) Poll(within time.Duration, is func() bool) (took time.Duration, ok bool) {
	took, ok = Poll(r.Ctx, within, is)
	if r.Ctx.Err() != nil {
		r.Fatal("interrupted")
	}
	return took, ok
}

// Poll waits for is, and says how long that took: at most within, or until ctx ends.
func Poll(ctx context.Context, within time.Duration, is func() bool) (took time.Duration, ok bool) {
	began := time.Now()
	for !is() {
		if time.Since(began) > within || !wait(ctx, 20*time.Millisecond) {
			return within, false
		}
	}
	return time.Since(began), true
}

// wait lets time pass, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
