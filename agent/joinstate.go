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

// hasToken reports whether there is a token that has not ended.
func (s joinState) hasToken(now time.Time) (bool, error) {
	if s.dir == "" {
		return false, nil
	}
	text, err := settings.Secret("", s.token(), "TOKEN")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("FARSCRAPE_STATE_DIR: the token that the agent has joined for: %w", err)
	}
	claims, ok := readClaims(string(text))
	return ok && (claims.Expires == 0 || now.Unix() < claims.Expires), nil
}

// draw returns who the agent is for the relay, and draws and writes that if it is new:
// by the name that is wanted, or else the host's. Who has no token yet may still be given
// another name.
func (s joinState) draw(name string, host func() (string, error)) (as wire.JoinRequest, err error) {
	if s.dir == "" {
		return as, errors.New("FARSCRAPE_STATE_DIR must be set: the agent keeps its token there, and this user has no home")
	}
	as, err = s.read()
	isNew := errors.Is(err, fs.ErrNotExist)
	switch {
	case err == nil && (name == "" || strings.EqualFold(name, as.Name)):
		return as, nil
	case err == nil && exists(s.token()):
		return as, s.isOf(name)
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

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
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
func (s joinState) isOf(name string) error {
	if as, err := s.read(); err == nil && name != "" && !strings.EqualFold(name, as.Name) {
		return fmt.Errorf("the agent of FARSCRAPE_STATE_DIR, %s, has joined as %q, and FARSCRAPE_NAME is %q: give that one another folder", s.dir, as.Name, name)
	}
	return nil
}

// keep writes down what the agent got.
func (s joinState) keep(token string) error {
	err := createIfMissing(s.token())
	if err == nil {
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
