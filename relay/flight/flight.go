// Package flight shares one computation among all who ask for it at the same
// time, and stops it when nobody waits for it any more.
package flight

import (
	"context"
	"sync"
)

// A Group is a set of computations by key. The zero value is ready.
type Group[T any] struct {
	mu      sync.Mutex
	flights map[string]*flight[T]
}

// A flight is one computation under way.
type flight[T any] struct {
	cancel  context.CancelFunc
	waiting int           // guarded by the group's mu
	done    chan struct{} // closed when value and err are set
	value   T
	err     error
}

// Do returns what compute returns: its own, or that of somebody who asked for
// the same key and is not answered yet. compute's context has base's values and
// ends with base, or when the context of everyone who waits has ended. Do
// returns when ctx ends, with its error.
func (g *Group[T]) Do(ctx, base context.Context, key string, compute func(context.Context) (T, error)) (T, error) {
	g.mu.Lock()
	f := g.flights[key]
	if f == nil {
		f = g.start(base, key, compute)
	}
	f.waiting++
	g.mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		g.forget(key, f) // who comes now wants a new one
	}
	var none T
	return none, context.Cause(ctx)
}

// Underway reports whether somebody waits for a computation of that key.
func (g *Group[T]) Underway(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flights[key] != nil
}

// start begins a computation. g.mu is held.
func (g *Group[T]) start(base context.Context, key string, compute func(context.Context) (T, error)) *flight[T] {
	ctx, cancel := context.WithCancel(base)
	f := &flight[T]{cancel: cancel, done: make(chan struct{})}
	if g.flights == nil {
		g.flights = make(map[string]*flight[T])
	}
	g.flights[key] = f
	go func() {
		defer cancel()
		f.value, f.err = compute(ctx)
		g.mu.Lock()
		g.forget(key, f)
		g.mu.Unlock()
		close(f.done)
	}()
	return f
}

// forget takes a flight off the list. g.mu is held.
func (g *Group[T]) forget(key string, f *flight[T]) {
	if g.flights[key] == f {
		delete(g.flights, key)
	}
}
