package link

import (
	"errors"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// close ends the link, once: the connection is closed in the background, and
// its reader finds out and ends it.
func (l *Link) close(c wire.Cause) { l.closeSaying(c, "") }

// lastWords is how long a link that closes may take to write what is queued and
// why it closes, and to hear the same of its peer. Who has it though its token was
// taken back must be gone within five seconds of that, be he deaf.
const (
	lastWords    = 5 * time.Second
	revokedWords = 2 * time.Second
)

func patience(c wire.Cause) time.Duration {
	if c == wire.CauseRevoked {
		return revokedWords
	}
	return lastWords
}

// closeSaying closes the link with a detail behind the cause, for the agent's log. It
// reports whether nobody had before.
func (l *Link) closeSaying(c wire.Cause, detail string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closeLocked(c, detail)
}

func (l *Link) closeLocked(c wire.Cause, detail string) bool {
	if !l.advanceLocked(closed) {
		return false
	}
	l.cause = c
	l.links.active.Go(func() {
		defer close(l.hungUp)
		// A peer that may be dead is not waited for.
		if c == wire.CauseTimeout || c == wire.CauseLost || c == wire.CauseSlow {
			_ = l.conn.CloseNow()
			return
		}
		impatient := time.AfterFunc(patience(c), func() { _ = l.socket.Close() })
		defer impatient.Stop()
		l.flush()
		_ = l.conn.Close(websocket.StatusCode(c.Code()), c.CloseReason(detail))
	})
	return true
}

// unlink takes the link out of everything and tells whoever waits for it.
func (l *Link) unlink() {
	l.mu.Lock()
	cause, released := l.cause, l.released
	l.mu.Unlock()
	if l.links.remove(l) {
		l.links.metrics.closed.WithLabelValues(cause.String()).Inc()
		if !released {
			l.links.Directory.Release(l.id, cause.String())
		}
		l.links.Changed(l.key, nil)
		l.recordClosed(cause)
	}
	l.failStreams()
	<-l.hungUp
	_ = l.conn.CloseNow()
	l.log.Info("link closed", "cause", cause, "age", time.Since(l.connected).Round(time.Second))
}

// outdone closes the link because another process holds the agent's name.
func (l *Link) outdone(why error) {
	l.links.metrics.conflicts.Inc()
	cause, mend := wire.CauseSuperseded, "stop one of the two, or set FARSCRAPE_SHARED=true on both"
	if errors.Is(why, wire.ErrNameTaken) {
		cause, mend = wire.CauseNameTaken, "give one of the two another FARSCRAPE_NAME"
	}
	l.log.Warn("another process holds the agent's name, and this one's link ends", "err", why, "mend", mend,
		"token_id", l.claims.ID, "remote_addr", l.remoteAddr)
	l.record(wire.EventConflict, cause.String(), mend)
	l.close(cause)
}

// closeFor closes the link for the error that ended the reading.
func (l *Link) closeFor(err error) {
	var refused *refusedError
	var protocol *protocolError
	switch {
	case errors.As(err, &refused):
		l.log.Warn("agent refused", "err", refused)
		l.recordNotTaken(refused.error)
		l.closeSaying(wire.CauseRefused, refused.Error())
	case errors.Is(err, errNoPlace): // that closed it
	case errors.Is(err, errUnheard):
		l.log.Warn("agent breaks the protocol", "err", errUnheard)
		l.close(wire.CauseProtocol)
	case errors.As(err, &protocol):
		l.log.Warn("agent breaks the protocol", "err", protocol)
		l.closeSaying(wire.CauseProtocol, protocol.Error())
	default:
		l.close(closeCause(err))
	}
}

func closeCause(err error) wire.Cause {
	switch {
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure, websocket.CloseStatus(err) == websocket.StatusGoingAway:
		return wire.CauseAgentStopped
	case websocket.CloseStatus(err) != -1:
		return wire.CauseOf(int(websocket.CloseStatus(err)))
	}
	return wire.CauseLost
}

// A protocolError is a message that no agent of this version sends. Its text goes
// to the agent and into our log.
type protocolError struct{ error }

func (e *protocolError) Unwrap() error { return e.error }

func (e *protocolError) Error() string { return clipped(e.error) }

// A refusedError is a HELLO or a target list that is understood and not taken. Its
// text goes to the agent and into our log.
type refusedError struct{ error }

func (e *refusedError) Error() string { return clipped(e.error) }

// maxReproach bounds what is said of a link's end, in bytes: it may quote what the
// agent has sent.
const maxReproach = 512

func clipped(err error) string {
	text := err.Error()
	if len(text) > maxReproach {
		return strings.ToValidUTF8(text[:maxReproach], "") + "…"
	}
	return text
}
