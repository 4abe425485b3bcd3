package agent

import (
	"log/slog"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// ping answers a PING, and learns from it how many replicas there are.
func (l *link) ping(payload []byte) error {
	p, err := wire.ParsePing(payload)
	if err != nil {
		return err
	}
	l.out.answer(payload)
	l.agent.keeper.replicasAlive(int(p.Replicas))
	return nil
}

// welcomeCame takes a WELCOME: the link works, or is now in the directory.
func (l *link) welcomeCame(payload []byte) error {
	w, err := wire.ParseWelcome(payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	first := l.welcome == nil
	l.welcome = w
	if first {
		l.since = time.Now()
		l.log = l.log.With("link", printable(string(w.Link)), "replica", printable(string(w.Replica)))
	}
	l.mu.Unlock()
	if w.Epoch != 0 {
		l.agent.epoch.Store(w.Epoch)
	}
	l.agent.gate.limit(w.MaxInflightAgent, w.MaxInflightTarget)
	if first {
		l.logger().Info("linked", "registered", w.Registered, "epoch", w.Epoch)
	} else {
		l.logger().Info("welcomed again", "registered", w.Registered, "epoch", w.Epoch)
	}
	l.agent.keeper.replicasAlive(w.Replicas)
	l.changed()
	return nil
}

// drainCame takes a DRAIN: the keeper opens another link.
func (l *link) drainCame(payload []byte) error {
	d, err := wire.ParseDrain(payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.draining, l.leaving = true, d.Cause == "shutdown"
	l.mu.Unlock()
	l.logger().Info("the replica drains this link", "cause", printable(d.Cause), "within_ms", d.WithinMillis)
	l.changed()
	return nil
}

// move tells the replica, once, that other links have taken over.
func (l *link) move() {
	l.mu.Lock()
	moved := l.moved
	l.moved = true
	l.mu.Unlock()
	if !moved {
		l.drain("moved")
	}
}

// welcomed is the last WELCOME; nil if there was none yet.
func (l *link) welcomed() *wire.Welcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.welcome
}

// logger names the link as far as it is known.
func (l *link) logger() *slog.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log
}

// isDraining reports whether the replica wants to be rid of the link.
func (l *link) isDraining() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.draining
}

// isLeaving reports whether the link's replica is about to exit.
func (l *link) isLeaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaving
}

// age is how long ago the link was welcomed; 0 if it was not.
func (l *link) age() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.welcome == nil {
		return 0
	}
	return time.Since(l.since)
}

// peerTimeout is the silence that the replica says is death.
func (l *link) peerTimeout() time.Duration {
	if w := l.welcomed(); w != nil && w.PeerTimeoutMillis > 0 {
		return time.Duration(min(w.PeerTimeoutMillis, time.Hour.Milliseconds())) * time.Millisecond
	}
	return wire.PeerTimeout
}

// add notes a scrape as in flight; false if it is already.
func (l *link) add(s *scrape) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := scrapeKey{s.id, s.attempt}
	if l.scrapes[key] != nil {
		return false
	}
	l.scrapes[key] = s
	return true
}

func (l *link) remove(s *scrape) {
	l.mu.Lock()
	delete(l.scrapes, scrapeKey{s.id, s.attempt})
	l.mu.Unlock()
	select {
	case l.finished <- struct{}{}:
	default:
	}
}

// scrape is the one in flight that f belongs to, or nil: it may be over.
func (l *link) scrape(f wire.Frame) *scrape {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.scrapes[scrapeKey{f.Scrape, f.Attempt}]
}

func (l *link) inflight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.scrapes)
}
