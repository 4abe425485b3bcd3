// Package loglimit bounds what peers can put into the log, each its share, and says
// how much was left out.
package loglimit

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/share"
)

// What bounds the lines that peers can put into the log.
const (
	// maxLines is how many may come at once, of all; one tenant alone has two
	// thirds of it, and so have all who have not shown a token of any.
	maxLines = 4096
	// linesEach is how many may come at once of one agent, or of one address
	// that has not shown a good token.
	linesEach = 20
	// linesHalf is when half of what has come may come again: one of an agent in
	// four seconds, 48 of all in one.
	linesHalf = time.Minute
	// maxLeftOut bounds those whose lines left out are counted one by one.
	maxLeftOut = 1024
)

// A Limiter shares the lines of a log among those who cause them.
type Limiter struct {
	log    *slog.Logger
	shares *share.Pool
	lost   prometheus.Counter

	mu      sync.Mutex // guards what follows: since the last was said
	leftOut int
	by      map[share.Member]int
}

// New makes a Limiter of a log. lost counts the lines that were left out.
func New(log *slog.Logger, lost prometheus.Counter) *Limiter {
	return &Limiter{log: log, shares: share.New(maxLines, linesEach), lost: lost, by: make(map[share.Member]int)}
}

// Of returns a logger for what m causes.
func (l *Limiter) Of(m share.Member) *slog.Logger {
	return slog.New(&handler{l.log.Handler(), l, m})
}

// Stranger is whom the lines of an unknown peer are counted for: its host is all
// that it cannot choose.
func Stranger(remoteAddr string) share.Member {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		host = remoteAddr
	}
	return share.Member{Name: host}
}

func (l *Limiter) take(m share.Member) bool {
	if l.shares.Take(m, 1) {
		return true
	}
	l.lost.Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leftOut++
	if _, known := l.by[m]; known || len(l.by) < maxLeftOut {
		l.by[m]++
	}
	return false
}

// Forgive lets in what may come again after that time, and says what was left out
// meanwhile.
func (l *Limiter) Forgive(after time.Duration) {
	l.shares.Forgive(after, linesHalf)
	l.mu.Lock()
	leftOut, by := l.leftOut, l.by
	l.leftOut, l.by = 0, make(map[share.Member]int)
	l.mu.Unlock()
	if leftOut == 0 {
		return
	}
	var most share.Member
	for m, n := range by {
		if n > by[most] {
			most = m
		}
	}
	l.log.Warn("lines that agents caused were left out of the log", "lines", leftOut,
		"most_of", most.Name, "tenant", most.Tenant, "of_it", by[most])
}

// A handler leaves out what is beyond its member's share.
type handler struct {
	slog.Handler
	limit *Limiter
	who   share.Member
}

// Handle writes the line if there is a share left for it.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if !h.limit.take(h.who) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler of the same share.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.limit, h.who}
}

// WithGroup returns a handler of the same share.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.limit, h.who}
}
