package relay_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/wire"
)

// A journal is what was logged.
type journal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.Write(b)
}

// lines are those that hold all of the texts.
func (j *journal) lines(texts ...string) (found []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.all.String()) {
		holds := true
		for _, text := range texts {
			holds = holds && strings.Contains(line, text)
		}
		if holds {
			found = append(found, line)
		}
	}
	return found
}

func (j *journal) keep(c *relay.Config) { c.Logger = slog.New(slog.NewTextHandler(j, nil)) }

func TestTheLogOfOneBadMemberIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		attack  func(r *replica)
		message string
		most    int
	}{
		"bad tokens": {func(r *replica) {
			for i := range 250 { // any more would have to wait
				_, _, _ = r.tryDial(dialOptions{name: fmt.Sprintf("x%d", i), token: "garbage"})
			}
		}, "agent refused", 20},
		"a token that does not allow the name": {func(r *replica) {
			hostile := r.mint("agent", "hostile")
			for i := range 1000 {
				_, _, _ = r.tryDial(dialOptions{name: fmt.Sprintf("x%d", i), token: hostile})
			}
		}, "agent refused", 20},
		"coming and going": {func(r *replica) {
			for range 200 {
				if a, _, err := r.tryDial(dialOptions{name: "hostile"}); err == nil {
					_ = a.conn.CloseNow()
				}
				time.Sleep(500 * time.Millisecond)
			}
		}, "agent=hostile", 20 + 100/4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := new(journal)
				r := newCluster(t, 1, j.keep).replicas[0]
				c.attack(r)
				r.dial(dialOptions{name: "neighbour"})
				time.Sleep(11 * time.Second)
				if n := len(j.lines(c.message)); n == 0 || n > c.most {
					t.Errorf("%d lines, at most %d may be", n, c.most)
				}
				if len(j.lines("linked", "agent=neighbour")) != 1 {
					t.Error("another agent's line is missing")
				}
				if len(j.lines("were left out", "lines=")) == 0 {
					t.Error("no word of those that were left out")
				}
			})
		})
	}
}

// What an agent sends is quoted where it says what is wrong, and no further.
func TestALineOfTheLogIsBounded(t *testing.T) {
	long := strings.Repeat("x", 60_000)
	for name, list := range map[string]string{
		"name":   `{"targets":[{"name":"` + long + `"}]}`,
		"path":   `{"targets":[{"name":"a","path":"` + long + `"}]}`,
		"number": `{"targets":[{"name":"a","port":1` + strings.Repeat("0", 60_000) + `}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log journal
				a := newCluster(t, 1, log.keep).replicas[0].dial(dialOptions{})
				a.send(wire.Frame{Type: wire.TypeTargets, Payload: []byte(list)})
				a.closedWith(wire.CauseRefused)
				synctest.Wait()
				lines := log.lines("agent refused")
				if len(lines) != 1 || len(lines[0]) > 1024 {
					t.Errorf("%d lines, of %d bytes", len(lines), len(strings.Join(lines, "")))
				}
			})
		})
	}
}
