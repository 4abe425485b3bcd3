package agent

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// Of keys' IDs.
const keyOne, keyTwo = "11111111", "22222222"

// A stamp is a token as far as an agent reads it.
type stamp struct {
	name, id, key   string
	issued, expires int64
}

func (s stamp) token() string {
	part := func(format string, v ...any) string {
		return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, format, v...))
	}
	return part(`{"kid":%q}`, s.key) + "." + part(`{"sub":%q,"role":"agent","jti":%q,"iat":%d,"exp":%d}`, s.name, s.id, s.issued, s.expires) + ".x"
}

// given is the token that agents have at first, and renewed one in the place of it.
var (
	given   = stamp{"edge-1", "id-1", keyOne, 1000, 2000}
	renewed = stamp{"edge-1", "id-1", keyTwo, 1600, 2600}
)

func (l *fakeLink) offer(s stamp) {
	l.t.Helper()
	l.send(wire.Frame{Type: wire.TypeToken, Payload: wire.MarshalControl(wire.Token{Token: s.token()})})
}

// keeps checks that the agent says it would come back with a token, and whether it has
// taken the one that it was offered.
func (l *fakeLink) keeps(s stamp, taken bool) {
	l.t.Helper()
	kept, err := wire.ParseKept(l.expect(wire.TypeKept).Payload)
	if want := (wire.Kept{Taken: taken, Key: s.key, Expires: s.expires}); err != nil || *kept != want {
		l.t.Errorf("the agent keeps %+v, %v; want %+v", kept, err, want)
	}
}

// shows checks which token a link was opened with.
func (l *fakeLink) shows(s stamp) {
	l.t.Helper()
	if got := l.header.Get("Authorization"); got != "Bearer "+s.token() {
		l.t.Errorf("the agent showed %s, want %+v", got, s)
	}
}

// after closes a link and returns the one after it.
func (r *fakeRelay) after(l *fakeLink) *fakeLink {
	r.t.Helper()
	l.close(wire.CauseDrained)
	next := r.link()
	next.welcome(1)
	return next
}

func holds(t *testing.T, file string, s stamp) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(content)) != s.token() {
		t.Errorf("%s holds %q, %v; want %+v", filepath.Base(file), content, err, s)
	}
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%s: others may read it: %v", filepath.Base(file), info.Mode())
	}
}

func secretFile(t *testing.T, s stamp) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(s.token()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestARenewedTokenIsWrittenWhereTheOldOneWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, relay := secretFile(t, given), newFakeRelay(t)
		start(t, relay.network, nil, func(c *Config) { c.Token, c.TokenFile, c.Links = "", file, 1 })
		l := relay.link()
		l.welcome(1)
		l.shows(given)
		l.offer(renewed)
		l.keeps(renewed, true)
		holds(t, file, renewed)
		next := relay.after(l)
		next.shows(renewed)
		next.ping(1) // and says nothing of what it keeps: that is what it shows
	})
}

func TestWhereTheTokenCannotBeWrittenTheStateFolderHasIt(t *testing.T) {
	for what, set := range map[string]func(c *Config, file string){
		"given by a variable":                  func(c *Config, _ string) { c.Token = given.token() },
		"given by a file that is in no folder": func(c *Config, file string) { c.Token, c.TokenFile = "", file },
	} {
		t.Run(what, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "not", "there", "yet")
			open, err := os.Open(secretFile(t, given))
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			if err := os.Remove(open.Name()); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				relay := newFakeRelay(t)
				start(t, relay.network, nil, func(c *Config) {
					set(c, fmt.Sprint("/dev/fd/", open.Fd()))
					c.Links, c.StateDir = 1, state
				})
				l := relay.link()
				l.welcome(1)
				l.offer(renewed)
				l.keeps(renewed, true)
			})
			holds(t, filepath.Join(state, "edge-1-id-1.token"), renewed)
			synctest.Test(t, func(t *testing.T) { // started again
				relay := newFakeRelay(t)
				start(t, relay.network, nil, func(c *Config) {
					c.Token, c.Links, c.StateDir = given.token(), 1, state
				})
				relay.link().shows(renewed)
			})
			synctest.Test(t, func(t *testing.T) { // started with another
				relay, other := newFakeRelay(t), stamp{"edge-1", "id-2", keyOne, 1100, 2000}
				start(t, relay.network, nil, func(c *Config) {
					c.Token, c.Links, c.StateDir = other.token(), 1, state
				})
				relay.link().shows(other)
			})
		})
	}
}

func TestATokenThatCanBeWrittenNowhereIsKeptInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil, func(c *Config) { c.Token, c.Links = given.token(), 1 })
		l := relay.link()
		l.welcome(1)
		l.offer(renewed)
		l.keeps(given, true)
		next := relay.after(l)
		next.shows(renewed)
		next.keeps(given, false)
	})
}

func TestATokenIsWrittenDownOnceItCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, relay := t.TempDir(), newFakeRelay(t)
		state := filepath.Join(dir, "state")
		if err := os.WriteFile(state, nil, 0o600); err != nil { // where the folder should be
			t.Fatal(err)
		}
		start(t, relay.network, nil, func(c *Config) { c.Token, c.Links, c.StateDir = given.token(), 1, state })
		l := relay.link()
		l.welcome(1)
		l.offer(renewed)
		l.keeps(given, true)
		if err := os.Remove(state); err != nil {
			t.Fatal(err)
		}
		relay.after(l).ping(1)
		synctest.Wait()
		holds(t, filepath.Join(state, "edge-1-id-1.token"), renewed)
	})
}

// Whoever answers in the relay's place can give the agent anything.
func TestARefusedTokenGivesWayToTheOneBefore(t *testing.T) {
	bogus := stamp{"edge-1", "id-1", "ffffffff", 1 << 40, 1}
	file := secretFile(t, given)
	good := func(r *fakeRelay) {
		r.refuse = func(w http.ResponseWriter, req *http.Request) bool {
			if req.Header.Get("Authorization") == "Bearer "+bogus.token() {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			return false
		}
	}
	ours := func(c *Config) { c.Token, c.TokenFile, c.Links = "", file, 1 }
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil, ours)
		l := relay.link()
		l.welcome(1)
		l.offer(bogus)
		l.keeps(bogus, true)
		holds(t, file, bogus)
	})
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		good(relay)
		start(t, relay.network, nil, ours)
		l := relay.link()
		l.welcome(1)
		l.shows(given)
		l.ping(1)
		synctest.Wait()
		holds(t, file, given)
		l.offer(renewed)
		l.keeps(renewed, true)
		holds(t, file, renewed)
		relay.after(l).shows(renewed)
	})
}

func TestARelayCannotFillTheLogWithTokens(t *testing.T) {
	var log syncBuffer
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		startAgent(t, Options{dialRelay: relay.dial, Logger: logTo(&log)}, func(c *Config) { c.Token, c.Links = given.token(), 1 })
		l := relay.link()
		l.welcome(1)
		for range 200 {
			l.offer(stamp{"edge-1", "id-2", keyTwo, 1600, 2600})
			l.keeps(given, false)
		}
	})
	if n := strings.Count(log.String(), "is not taken"); n != 1 {
		t.Errorf("%d lines", n)
	}
}

func TestATokenForSomebodyElseIsNotTaken(t *testing.T) {
	for what, s := range map[string]stamp{
		"another name": {"edge-2", "id-1", keyTwo, 1600, 2600},
		"another ID":   {"edge-1", "id-2", keyTwo, 1600, 2600},
		"an older one": {"edge-1", "id-1", keyTwo, 999, 2600},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				file, relay := secretFile(t, given), newFakeRelay(t)
				start(t, relay.network, nil, func(c *Config) { c.Token, c.TokenFile, c.Links = "", file, 1 })
				l := relay.link()
				l.welcome(1)
				l.offer(s)
				l.keeps(given, false)
				relay.after(l).shows(given)
				holds(t, file, given)
			})
		})
	}
}

// Each link's replica offers one.
func TestTokensThatComeTogetherAreTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, relay := secretFile(t, given), newFakeRelay(t)
		start(t, relay.network, nil, func(c *Config) { c.Token, c.TokenFile, c.Links = "", file, 1 })
		l := relay.link()
		l.welcome(1)
		l.offer(renewed)
		l.keeps(renewed, true)
		another := stamp{"edge-1", "id-1", keyTwo, 1605, 2605}
		l.offer(another)
		l.keeps(renewed, true)
		holds(t, file, renewed)
		for _, better := range []stamp{{"edge-1", "id-1", keyOne, 1605, 2605}, {"edge-1", "id-1", keyTwo, 1605, 9605}} {
			l.offer(better)
			l.keeps(renewed, false)
		}
		holds(t, file, renewed)
		time.Sleep(takeEvery)
		l.offer(another)
		l.keeps(another, true)
		holds(t, file, another)
	})
}
