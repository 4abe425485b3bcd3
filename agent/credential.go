package agent

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// takeEvery bounds how often a token is taken in the place of the last: each link's
// replica offers one, and what is taken is written.
const takeEvery = 10 * time.Second

// A credential is the token that the agent shows: the one that its environment gives, or
// the youngest of those that relays gave in the place of that. Nothing of them can be
// checked here, so the one before stays too, and is shown where the youngest is refused.
type credential struct {
	config *Config
	agent  string
	log    *slog.Logger
	turn   chan struct{} // has one element while a token is taken, and written

	mu       sync.Mutex
	renewed  string          // in memory
	taken    time.Time       // when
	refused  map[string]bool // by a relay
	told     string          // what was wrong with the state folder
	grumbled time.Time       // when it was logged last that a token was not taken
}

func (c *credential) init(config *Config, agent string, log *slog.Logger) {
	c.config, c.agent, c.log = config, agent, log
	c.turn, c.refused = make(chan struct{}, 1), make(map[string]bool)
}

// current is the token to show now.
func (c *credential) current() (string, error) {
	all, err := c.candidates()
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if all = inPlaceOf(all[0], append(all, c.renewed)); !slices.ContainsFunc(all, func(t string) bool { return !c.refused[t] }) {
		clear(c.refused) // none is good now: another may be again
	}
	return all[slices.IndexFunc(all, func(t string) bool { return !c.refused[t] })], nil
}

// written is the token that the agent would come back with if it were started again.
func (c *credential) written() (string, error) {
	all, err := c.candidates()
	if err != nil {
		return "", err
	}
	return inPlaceOf(all[0], all)[0], nil
}

// unwritten reports whether the token to show is in memory only.
func (c *credential) unwritten() bool {
	current, err := c.current()
	written, also := c.written()
	return err == nil && also == nil && current != written
}

// refuse notes that a relay has refused a token.
func (c *credential) refuse(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[token] = true // of the few that there are: current forgets them all again
}

// candidates are the tokens that files and the environment hold, the given one first.
func (c *credential) candidates() (all []string, err error) {
	given, err := c.config.token()
	if err != nil {
		return nil, err
	}
	all = []string{given}
	state := c.stateFile(given)
	for _, file := range []string{before(c.config.TokenFile), state, before(state)} {
		if file == "" {
			continue
		}
		switch kept, err := settings.Secret("", file, "TOKEN"); {
		case err == nil:
			all = append(all, string(kept))
		case file == state && !errors.Is(err, fs.ErrNotExist):
			c.tell(fmt.Errorf("FARSCRAPE_STATE_DIR: %w", err))
		}
	}
	return all, nil
}

// tell says once what is wrong with the state folder.
func (c *credential) tell(err error) {
	c.mu.Lock()
	told := c.told == err.Error()
	c.told = err.Error()
	c.mu.Unlock()
	if !told {
		c.log.Warn("a token that the relay gave earlier cannot be read: an older one is shown", "err", err)
	}
}

// idShape is what tokens' IDs look like, and names of files may.
var idShape = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// stateFile is where tokens are kept that cannot be written to where they came from;
// empty: nowhere. Agents of one name on one host have tokens of their own.
func (c *credential) stateFile(token string) string {
	id, ok := readClaims(token)
	if c.config.StateDir == "" || !ok || !idShape.MatchString(id.ID) {
		return ""
	}
	return filepath.Join(c.config.StateDir, c.agent+"-"+id.ID+".token")
}

// before is where the token is kept that stood in a file before; empty: nowhere.
func before(file string) string {
	if file == "" {
		return ""
	}
	return file + ".before"
}

// inPlaceOf are the tokens that renew the given one, and that one, the youngest first.
func inPlaceOf(given string, all []string) []string {
	of, ok := readClaims(given)
	if !ok {
		return []string{given}
	}
	all = slices.DeleteFunc(slices.Clone(all), func(t string) bool { is, ok := readClaims(t); return !ok || t != given && !is.renews(of) })
	slices.SortStableFunc(all, func(a, b string) int {
		one, _ := readClaims(a)
		other, _ := readClaims(b)
		return cmp.Compare(other.Issued, one.Issued)
	})
	return slices.Compact(all)
}

// asGood reports whether an agent that has a token needs no other: it is of the same key,
// and ends at most as much sooner as replicas offer them apart.
func asGood(has, other string) bool {
	a, _ := readClaims(has)
	b, _ := readClaims(other)
	return a.key == b.key && (a.Expires == 0 || b.Expires != 0 && b.Expires-a.Expires <= int64(wire.RenewalsApart/time.Second))
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
	was, _ := readClaims(current)
	if is, ok := readClaims(token); !ok || !is.renews(was) || is.Issued < was.Issued {
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
	file, err = c.write(token)
	return file, true, err
}

// writeDown writes the token that a relay has just let in, in case that it is in memory
// only and can be written by now, or that the written one was refused.
func (c *credential) writeDown() error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	current, err := c.current()
	if err == nil && c.unwritten() {
		_, err = c.write(current)
	}
	return err
}

// write puts a token where the agent's own came from, or else into the state folder.
func (c *credential) write(token string) (file string, err error) {
	unwritten := errors.New("FARSCRAPE_STATE_DIR is not set")
	if c.config.TokenFile != "" {
		if err = replaceToken(c.config.TokenFile, token); err == nil {
			return c.config.TokenFile, nil
		}
		unwritten = fmt.Errorf("%w, and %w", err, unwritten)
	}
	if file = c.stateFile(token); file == "" {
		return "", unwritten
	}
	err = os.MkdirAll(c.config.StateDir, 0o700)
	if err == nil {
		err = createIfMissing(file)
	}
	if err == nil {
		err = replaceToken(file, token)
	}
	if err != nil {
		return "", fmt.Errorf("FARSCRAPE_STATE_DIR: %w", err)
	}
	return file, nil
}

// replaceToken puts a token into a file, and what that held into the one beside it.
func replaceToken(file, token string) error {
	old, err := settings.ReadFile(file)
	if err != nil {
		return err
	}
	if len(old) > 0 {
		if err = createIfMissing(before(file)); err == nil {
			err = settings.ReplaceFile(before(file), old)
		}
		if err != nil {
			return err
		}
	}
	return settings.ReplaceFile(file, []byte(token+"\n"))
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
