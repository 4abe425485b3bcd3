package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// takeEvery bounds how often a token is taken in the place of the last: each link's
// replica offers one, and what is taken is written.
const takeEvery = 10 * time.Second

// A credential is the token that the agent shows: the one it was given by its
// environment, or the youngest of those that relays gave it in the place of that.
type credential struct {
	config *Config
	file   string        // where one is kept that cannot be written to where it came from; empty: nowhere
	turn   chan struct{} // has one element while a token is taken, and written

	mu      sync.Mutex
	renewed string    // in memory
	taken   time.Time // when
}

// init names the file; the agent's name is known only after the first look at the token.
func (c *credential) init(config *Config, agent string) {
	c.config, c.turn = config, make(chan struct{}, 1)
	if config.StateDir != "" {
		c.file = filepath.Join(config.StateDir, agent+".token")
	}
}

// current is the token to show now.
func (c *credential) current() (string, error) {
	written, err := c.written()
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return younger(written, c.renewed), nil
}

// written is the token that the agent would come back with if it were started again.
func (c *credential) written() (string, error) {
	given, err := c.config.token()
	if err != nil || c.file == "" {
		return given, err
	}
	kept, err := settings.Secret("", c.file, "TOKEN")
	if err != nil { // as is most often so: there is none
		return given, nil
	}
	return younger(given, string(kept)), nil
}

// unwritten reports whether the token to show is in memory only.
func (c *credential) unwritten() bool {
	current, err := c.current()
	written, also := c.written()
	return err == nil && also == nil && current != written
}

// younger is the second of two tokens if it renews the first, which it is given for.
func younger(given, other string) string {
	was, ok := readClaims(given)
	is, also := readClaims(other)
	if ok && also && is.renews(was) && is.Issued >= was.Issued {
		return other
	}
	return given
}

// asGood reports whether an agent that has a token needs no other: it is of the same key,
// and ends at most as much sooner as replicas offer them apart.
func asGood(has, other string) bool {
	a, _ := readClaims(has)
	b, _ := readClaims(other)
	return a.key == b.key && (a.Expires == 0 || b.Expires-a.Expires <= int64(takeEvery/time.Second))
}

// errForeign is a token that a relay gave and that is for somebody else.
var errForeign = errors.New("it does not renew the token that the agent has")

// take takes a token in the place of the current one and writes it down, and returns
// the file; none if there is nowhere to write to, which err then says. One that comes
// too soon after another changes nothing, and is taken if that other is as good.
func (c *credential) take(token string) (file string, taken bool, err error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	now := time.Now()
	current, err := c.current()
	if err != nil {
		return "", false, err
	}
	if younger(current, token) != token {
		return "", false, errForeign
	}
	c.mu.Lock()
	soon := now.Sub(c.taken) < takeEvery
	if !soon {
		c.renewed, c.taken = token, now
	}
	c.mu.Unlock()
	if soon {
		return "", asGood(current, token), nil
	}
	file, err = c.write([]byte(token + "\n"))
	return file, true, err
}

// writeDown writes what is in memory only, in case that it can be by now.
func (c *credential) writeDown() error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	renewed := c.renewed
	c.mu.Unlock()
	if renewed == "" || !c.unwritten() {
		return nil
	}
	_, err := c.write([]byte(renewed + "\n"))
	return err
}

// write puts a token where the agent's own came from, or else into the state folder.
func (c *credential) write(token []byte) (file string, err error) {
	unwritten := errors.New("FARSCRAPE_STATE_DIR is not set")
	if c.config.TokenFile != "" {
		if err = settings.ReplaceFile(c.config.TokenFile, token); err == nil {
			return c.config.TokenFile, nil
		}
		unwritten = fmt.Errorf("%w, and %w", err, unwritten)
	}
	if c.file == "" {
		return "", unwritten
	}
	err = os.MkdirAll(filepath.Dir(c.file), 0o700)
	if err == nil {
		err = createIfMissing(c.file)
	}
	if err == nil {
		err = settings.ReplaceFile(c.file, token)
	}
	if err != nil {
		return "", fmt.Errorf("FARSCRAPE_STATE_DIR: %w", err)
	}
	return c.file, nil
}

// createIfMissing makes a file that only its owner reads, since that is to be replaced.
func createIfMissing(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// tokenCame takes a TOKEN. One that comes while the link is at another is not taken,
// and is offered again.
func (l *link) tokenCame(payload []byte) error {
	t, err := wire.ParseToken(payload)
	if err == nil {
		l.aside(func() { l.renew(t.Token) })
	}
	return err
}

// aside does what has to do with files, one thing at a time: disks may be slow, and
// nothing else of the link waits for them.
func (l *link) aside(f func()) {
	if l.writing.CompareAndSwap(false, true) {
		l.scraping.Go(func() {
			defer l.writing.Store(false)
			f()
		})
	}
}

// renew takes a token, and tells what the agent would come back with.
func (l *link) renew(token string) {
	log := l.logger()
	file, taken, err := l.agent.credential.take(token)
	claims, _ := readClaims(token)
	switch {
	case !taken && err != nil:
		log.Warn("the relay's new token is not taken", "err", err)
		return
	case taken && err != nil:
		log.Warn("token renewed, in memory only: started again, the agent comes back with the old one",
			"expires", claims.expiry(), "err", err, "mend", "set FARSCRAPE_STATE_DIR to a folder that it may write to")
	case file != "":
		log.Info("token renewed", "expires", claims.expiry(), "file", file)
	}
	l.tellKept(taken)
}

// tellUnwritten tells the replica that it was shown a token which the agent would not
// come back with, if it still cannot be written down.
func (l *link) tellUnwritten() {
	if err := l.agent.credential.writeDown(); err == nil {
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
