package link

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A watch is a link's one timer for all of its streams: set for when the first of
// them is to be looked at, and for nothing where there are none. Guarded by the
// link's mu.
type watch struct {
	timer *time.Timer
	at    time.Duration // by the replica's clock; 0: not set
}

// watchLocked has the streams looked at by then. Both times are the replica's clock's.
func (l *Link) watchLocked(now, then time.Duration) {
	w := &l.watch
	switch {
	case w.at > 0 && w.at <= then:
		return // that look sees to the rest
	case w.timer == nil:
		w.timer = time.AfterFunc(then-now, l.lookAtStreams)
	default:
		w.timer.Reset(then - now)
	}
	w.at = then
}

func (w *watch) stopLocked() {
	if w.timer != nil {
		w.timer.Stop()
		w.at = 0
	}
}

// lookAtStreams breaks the silence of those to which the agent has not said a word
// for a while, forgets those that it should long have ended, and sets the watch for
// the next of either.
//
// If anything has come over the link since a silent one was sent, or the link is
// known to be slow, the agent is only busy: then we say ACK for it, so that the edge
// does not look for another link. Else we look again later; the edge decides.
func (l *Link) lookAtStreams() {
	type word struct {
		to wire.Receiver
		f  wire.Frame
	}
	var words []word
	l.mu.Lock()
	now := l.links.clock.now()
	slow := time.Duration(l.roundTrip.Load()) > wire.AckAfter
	l.watch.at = 0
	next := never
	for k, g := range l.streams {
		switch {
		case now >= g.due:
			words = append(words, word{g.to, k.Nack(overdue)})
			l.dropLocked(k)
			continue
		case g.heard || now < g.silent:
		case slow || l.heard.Load() > int64(g.sent):
			words = append(words, word{g.to, k.Frame(wire.TypeAck, nil)})
			g.heard = true
		default:
			g.silent = now + wire.Silence
		}
		next = min(next, g.lookAt(now))
	}
	if next < never {
		l.watchLocked(now, next)
	}
	last := len(words) > 0 && l.phase == leaving && len(l.streams) == 0
	l.mu.Unlock()
	for _, w := range words {
		w.to.Receive(w.f)
	}
	if last {
		l.close(wire.CauseDrained)
	}
}

// lookAt is when to look at a stream next. What is overdue is looked for no more often
// than what is silent: else an agent that ends none of its streams would have all of
// them looked at for each.
func (g *stream) lookAt(now time.Duration) time.Duration {
	if !g.heard {
		return g.silent
	}
	return max(g.due, now+wire.Silence)
}
