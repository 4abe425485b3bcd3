package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// A joinState is what an agent keeps of having joined, in a folder of its own: in the
// file join who it is for the relay, and in the file token what it got, which renewing
// writes to.
type joinState struct{ dir string }

func (s joinState) token() string { return filepath.Join(s.dir, "token") }
func (s joinState) who() string   { return filepath.Join(s.dir, "join") }

// kept is what the token says that there is; nil, if there is none. A file that is empty,
// or holds no token, was not written to its end.
func (s joinState) kept() (*claims, error) {
	if s.dir == "" {
		return nil, nil
	}
	text, err := settings.ReadFile(s.token())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("FARSCRAPE_STATE_DIR: the token that the agent has joined for: %w", err)
	}
	if c, ok := readClaims(strings.TrimSpace(string(text))); ok {
		return &c, nil
	}
	return nil, nil
}

// lasts reports whether a token has not ended, by this host's clock.
func (c *claims) lasts(now time.Time) bool {
	return c != nil && (c.Expires == 0 || now.Unix() < c.Expires)
}

// draw returns who the agent is for the relay, and draws and writes that if it is new:
// by the name that is wanted, or else the host's. Who has no token yet may still be given
// another name.
func (s joinState) draw(name string, host func() (string, error)) (as wire.JoinRequest, err error) {
	if s.dir == "" {
		return as, errors.New("FARSCRAPE_STATE_DIR must be set: the agent keeps its token there, and this user has no home")
	}
	kept, err := s.kept()
	if err != nil {
		return as, err
	}
	has := kept != nil
	as, err = s.read()
	isNew := errors.Is(err, fs.ErrNotExist)
	switch {
	case err == nil && (name == "" || strings.EqualFold(name, as.Name)):
		return as, nil
	case err == nil && has:
		return as, s.isOf(name, as.Name)
	case isNew:
		as.JoinID = wire.NewJoinID()
	case err != nil:
		return as, err
	}
	if name != "" {
		as.Name, err = checkName(name, "FARSCRAPE_NAME")
	} else {
		as.Name, err = nameOfHost(host)
	}
	if err != nil {
		return as, err
	}
	if err = s.write(as, isNew); errors.Is(err, fs.ErrExist) { // another was faster
		return s.read()
	}
	if err != nil {
		return as, fmt.Errorf("FARSCRAPE_STATE_DIR: %w: the agent must be able to write there to join", err)
	}
	return as, nil
}

func (s joinState) write(as wire.JoinRequest, isNew bool) error {
	text, err := json.Marshal(as)
	if err == nil {
		err = os.MkdirAll(s.dir, 0o700)
	}
	switch text = append(text, '\n'); {
	case err != nil:
		return err
	case isNew:
		return createWhole(s.who(), text)
	}
	return settings.ReplaceFile(s.who(), text)
}

func (s joinState) read() (as wire.JoinRequest, err error) {
	text, err := settings.ReadFile(s.who())
	if err != nil {
		return as, fmt.Errorf("FARSCRAPE_STATE_DIR: %w", err)
	}
	read, err := wire.ParseJoinRequest(text)
	if err != nil {
		return as, fmt.Errorf("FARSCRAPE_STATE_DIR: %s is damaged: remove it, and join as a new agent: %w", s.who(), err)
	}
	return *read, nil
}

// isOf reports that the folder is of an agent of another name than is wanted.
func (s joinState) isOf(wanted, name string) error {
	if wanted != "" && !strings.EqualFold(wanted, name) {
		return fmt.Errorf("the agent of FARSCRAPE_STATE_DIR, %s, has joined as %q, and FARSCRAPE_NAME is %q: give that one another folder", s.dir, name, wanted)
	}
	return nil
}

// keep writes down what the agent got.
func (s joinState) keep(token string) error {
	kept, err := s.kept()
	switch {
	case err != nil:
	case kept == nil:
		_ = os.Remove(s.token()) // it holds nothing
		err = createWhole(s.token(), []byte(token+"\n"))
	default:
		err = replaceToken(s.token(), token)
	}
	if err != nil {
		return fmt.Errorf("FARSCRAPE_STATE_DIR: %w", err)
	}
	return nil
}

// createWhole makes a file that only its owner reads, with all that is to be in it, or
// fails if there is one.
func createWhole(file string, content []byte) error {
	fresh, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(fresh.Name())
	_, err = fresh.Write(content)
	if err = errors.Join(err, fresh.Sync(), fresh.Close()); err != nil {
		return err
	}
	return os.Link(fresh.Name(), file)
}
