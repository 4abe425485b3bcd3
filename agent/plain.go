package agent

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A plainTransport asks one target over plain HTTP/1.1, one request at a time on
// each connection. relay/decisions/cost-of-a-scrape.md has why it is not
// http.Transport.
type plainTransport struct {
	dial    dialFunc
	host    string // as a request names it
	address string // to dial: host and port

	mu     sync.Mutex
	idle   []*plainConn // the one used last is the last
	sweep  *time.Timer  // runs while any are idle; nil: none are
	closed bool         // keeps no more idle ones
}

// How long a connection is kept.
const (
	// idleConnFor is how long while it is idle: Prometheus's figure.
	idleConnFor = 5 * time.Minute
	// sweepEvery is how long one that the target has closed may hold its
	// descriptor.
	sweepEvery = 15 * time.Second
)

// get asks on a connection from before, if one is left, and on a new one if that
// turns out to have ended.
func (t *plainTransport) get(ctx context.Context, u *url.URL, header []wire.Field) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // the end of ctx closes a connection, but not before it may have been written to
	}
	if c := t.takeIdle(); c != nil {
		r, err := c.get(ctx, u, header)
		if !errors.Is(err, errNoAnswer) || ctx.Err() != nil {
			return r, err
		}
	}
	conn, err := t.dial(ctx, "tcp", t.address)
	if err != nil {
		return nil, &unreached{err}
	}
	return newPlainConn(conn, t).get(ctx, u, header)
}

// takeIdle is an idle connection that seems to be good, or nil.
func (t *plainTransport) takeIdle() *plainConn {
	for {
		c := t.pop()
		if c == nil || c.untouched() {
			return c
		}
		c.Close()
	}
}

func (t *plainTransport) pop() *plainConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(t.idle) - 1
	if last < 0 {
		return nil
	}
	c := t.idle[last]
	t.idle[last] = nil
	t.idle = t.idle[:last]
	return c
}

// keep makes c an idle connection.
func (t *plainTransport) keep(c *plainConn) {
	c.idleSince = time.Now()
	t.mu.Lock()
	closed := t.closed
	if !closed {
		t.idle = append(t.idle, c)
		if t.sweep == nil {
			t.sweep = time.AfterFunc(sweepEvery, t.closeSpent)
		}
	}
	t.mu.Unlock()
	if closed {
		c.Close()
	}
}

// closeSpent closes the connections that have been idle for too long, and those
// that the target has closed. Nothing in it waits for the network.
func (t *plainTransport) closeSpent() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = slices.DeleteFunc(t.idle, func(c *plainConn) bool {
		spent := time.Since(c.idleSince) >= idleConnFor || !c.untouched()
		if spent {
			c.Close()
		}
		return spent
	})
	if len(t.idle) == 0 {
		t.sweep = nil
		return
	}
	t.sweep.Reset(sweepEvery)
}

func (t *plainTransport) closeIdle() {
	t.mu.Lock()
	all := t.idle
	t.idle, t.closed = nil, true
	if t.sweep != nil {
		t.sweep.Stop()
	}
	t.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}
