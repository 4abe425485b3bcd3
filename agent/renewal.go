package agent

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// tokenCame takes a TOKEN. One that comes while the link has enough to do with files is
// not taken, and is offered again.
func (l *link) tokenCame(payload []byte) error {
	t, err := wire.ParseToken(payload)
	if err == nil {
		l.aside(func() { l.renew(t.Token) })
	}
	return err
}

// mostAside is how many things a link may have to do with files at once.
const mostAside = 2

// aside does what has to do with files, for which the link's reader does not wait: disks
// may be slow.
func (l *link) aside(f func()) {
	select {
	case l.files <- struct{}{}:
		l.scraping.Go(func() {
			defer func() { <-l.files }()
			f()
		})
	default:
	}
}

// renew takes a token, and tells what the agent would come back with.
func (l *link) renew(token string) {
	log, c := l.logger(), &l.agent.credential
	file, taken, err := c.take(token)
	claims, _ := readClaims(token)
	switch {
	case !taken && err != nil && c.grumbles(time.Now()):
		log.Warn("the relay's new token is not taken", "err", err)
	case taken && err != nil:
		log.Warn("token renewed, in memory only: started again, the agent comes back with the old one",
			"expires", claims.expiry(), "err", err, "mend", "set FARSCRAPE_STATE_DIR to a folder that it may write to")
	case file != "":
		log.Info("token renewed", "expires", claims.expiry(), "file", file)
	}
	l.tellKept(taken)
}

// tellUnwritten tells the replica, which has just welcomed the agent, if it was shown a
// token that the agent would not come back with, and that cannot be written down now.
func (l *link) tellUnwritten() {
	c := &l.agent.credential
	if !c.unwritten() {
		return
	}
	if err := c.writeDown(); err == nil {
		l.logger().Info("the token in memory is written down")
		return
	}
	l.tellKept(false)
}

// tellKept tells the replica which token the agent would come back with, and whether it
// has taken the one that the replica offered.
func (l *link) tellKept(taken bool) {
	written, err := l.agent.credential.written()
	claims, ok := readClaims(written)
	if err != nil || !ok {
		return
	}
	kept := claims.kept()
	kept.Taken = taken
	l.out.send(outgoing{Frame: wire.Frame{Type: wire.TypeKept, Payload: wire.MarshalControl(kept)}})
}

// grumbleEvery bounds how often a relay can have the agent log that it takes no token.
const grumbleEvery = time.Minute

// grumbles reports whether that may be logged now.
func (c *credential) grumbles(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.grumbled) < grumbleEvery {
		return false
	}
	c.grumbled = now
	return true
}
