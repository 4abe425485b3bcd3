package relay

import (
	"errors"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// close ends the link, once: the connection is closed in the background, and
// run finds out and departs.
func (l *link) close(c wire.Cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeLocked(c)
}

func (l *link) closeLocked(c wire.Cause) {
	if l.closed {
		return
	}
	l.closed, l.cause = true, c
	l.relay.active.Go(func() {
		defer close(l.hungUp)
		// Close waits for the peer's word, up to 5 s and more; a peer that
		// may be dead is not waited for.
		if c == wire.CauseTimeout || c == wire.CauseLost || c == wire.CauseSlow {
			_ = l.conn.CloseNow()
			return
		}
		l.flush()
		_ = l.conn.Close(websocket.StatusCode(c.Code()), c.String())
	})
}

// depart takes the link out of everything and tells whoever waits for it.
func (l *link) depart() {
	l.mu.Lock()
	cause, left := l.cause, l.leaving
	l.mu.Unlock()
	if l.relay.links.remove(l) {
		l.relay.metrics.closed.WithLabelValues(cause.String()).Inc()
		if !left {
			l.relay.Directory.Release(l.id, cause.String())
		}
		l.relay.routes.forget(l.key)
	}
	l.abandonLegs()
	<-l.hungUp
	_ = l.conn.CloseNow()
	l.log.Info("link closed", "cause", cause, "age", time.Since(l.connected).Round(time.Second))
}

// closeCause reads the cause off the error that ended the reading.
func closeCause(err error) wire.Cause {
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return wire.CauseRefused
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure, websocket.CloseStatus(err) == websocket.StatusGoingAway:
		return wire.CauseAgentStopped
	case websocket.CloseStatus(err) != -1:
		return wire.CauseOf(int(websocket.CloseStatus(err)))
	case errors.As(err, new(*protocolError)):
		return wire.CauseProtocol
	}
	return wire.CauseLost
}

// A protocolError is a message that no agent of this version sends.
type protocolError struct{ error }

func (e *protocolError) Unwrap() error { return e.error }

// A refusedError is a HELLO or a target list that is understood and not taken.
type refusedError struct{ error }
