package link

import (
	"errors"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// owe notes what an agent has sent that no scrape has asked for, in bytes. What is
// more than it may is read later.
func (l *Link) owe(n float64) {
	if n > 0 {
		l.pause = max(l.pause, l.visit.owe(n))
	}
}

// unasked takes note of a frame that belongs to nothing, while a message is still
// being read.
func (l *Link) unasked() {
	l.owe(l.links.arrivals.lists.idle())
	if l.rest() != nil {
		_ = l.socket.Close()
	}
}

// caughtUp is how long a link must have read on without a rest, so that the next is
// not counted with the last.
const caughtUp = time.Second

// rest waits for the agent's turn, if it is not now, and reads nothing meanwhile:
// what comes waits in the connection, and then the agent does. Its silence is ours.
// It fails if the turn is too far off.
func (l *Link) rest() error {
	if l.pause <= 0 {
		return nil
	}
	if time.Since(l.lastRest) > caughtUp {
		l.rested = 0
	}
	if l.rested += l.pause; l.rested > maxRest {
		return &protocolError{errors.New("more than an agent may send that no scrape has asked for")}
	}
	turn := time.NewTimer(l.pause)
	defer turn.Stop()
	select {
	case <-turn.C:
	case <-l.hungUp: // the next read fails
	}
	l.pause, l.lastRest = 0, time.Now()
	l.heard.Store(int64(l.links.clock.now()))
	return nil
}

// How often a link looks whether there is a place for it: soon at first, and then
// seldom, since thousands may wait.
const (
	lookForPlace = 20 * time.Millisecond
	lookAtLeast  = 320 * time.Millisecond
)

// awaitPlace waits until there is a place for a list or a message of which more is
// to come, and reads nothing meanwhile. If none is free for as long as a handshake
// may take, the link closes, for its agent to dial again.
func (l *Link) awaitPlace(take func() bool) error {
	if take() {
		return nil
	}
	late := time.NewTimer(handshakeTimeout)
	defer late.Stop()
	again := lookForPlace
	look := time.NewTimer(again)
	defer look.Stop()
	for !take() {
		select {
		case <-look.C:
			again = min(2*again, lookAtLeast)
			look.Reset(again)
		case <-late.C:
			l.log.Warn("too many long messages are on their way with this agent's token")
			l.close(wire.CauseTimeout)
			return errNoPlace
		case <-l.hungUp:
			return errNoPlace
		}
	}
	l.heard.Store(int64(l.links.clock.now()))
	return nil
}

var errNoPlace = errors.New("no place for a long message")
