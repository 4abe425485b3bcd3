package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/scripts/rig"
)

// relayRefuses are of one that does not let the agent link, or ends its links.
func relayRefuses() []attack {
	dials := func(name, sent string, most int, refuse http.HandlerFunc) attack {
		expected := fmt.Sprintf("no more than %d dials in 5 s", most)
		return attack{name: "relay-" + name, sent: sent, expected: expected, run: func(t *trial) string {
			r := t.startRelay(refuse)
			a := t.follow(r)
			t.Wait(5 * time.Second)
			if n := len(r.dials()); n > most || n == 0 || !a.Runs() {
				return fmt.Sprintf("%d dials in 5 s; runs: %v", n, a.Runs())
			}
			return expected
		}}
	}
	plain := func(status int, fields ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, f := range fields {
				name, value, _ := strings.Cut(f, ": ")
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
		}
	}
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(rig.Patience))
			_, _ = io.WriteString(conn, strings.ReplaceAll(answer, "\n", "\r\n"))
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	closes := func(name string, most int, code int, reason string) attack {
		return attack{name: "relay-closes-" + name, sent: fmt.Sprintf("each link is closed at once with %d", code), expected: fmt.Sprintf("no more than %d dials in 5 s", most), run: func(t *trial) string {
			r, a, l := t.linked()
			until := time.After(5 * time.Second)
			for {
				l.welcome(welcome())
				_ = l.conn.Close(websocket.StatusCode(code), reason)
				select {
				case l = <-r.links:
				case <-until:
					if log, err := os.ReadFile(a.Log); err != nil || bytes.ContainsRune(log, 0x1b) {
						return "control characters in the agent's log"
					}
					if n := len(r.dials()); n > most || !a.Runs() {
						return fmt.Sprintf("%d dials in 5 s; runs: %v", n, a.Runs())
					}
					return fmt.Sprintf("no more than %d dials in 5 s", most)
				}
			}
		}}
	}
	const upgrade = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Protocol: farscrape.v1\n"
	return []attack{
		dials("says-200", "200 in place of the 101", 12, plain(200)),
		dials("says-401", "401", 12, plain(401)),
		dials("says-503-now", "503, come back within 0 s", 12, plain(503, "Retry-After: 0", "Farscrape-Error: overloaded")),
		{name: "relay-says-503-never", sent: "503, come back within 32 years", expected: "back within 5 min, and no sooner than it has logged", run: func(t *trial) string {
			return t.putOff(plain(503, "Retry-After: 1000000000", "Farscrape-Error: overloaded"))
		}},
		dials("says-503-negative", "503, come back within -5 s", 12, plain(503, "Retry-After: -5")),
		dials("says-409", "409, always", 12, plain(409, "Retry-After: 1", "Farscrape-Error: bad_request")),
		dials("wrong-accept", "a 101 with a wrong key", 12, raw(upgrade+"Sec-WebSocket-Accept: x\n\n")),
		dials("no-subprotocol", "a 101 that speaks something else", 12, raw(strings.Replace(upgrade, "farscrape.v1", "chat", 1)+"Sec-WebSocket-Accept: x\n\n")),
		dials("endless-header", "a header of 50 MB in place of the 101", 12, raw("HTTP/1.1 200 OK\n"+strings.Repeat("A: "+strings.Repeat("x", 1<<20)+"\n", 50))),
		dials("endless-body", "401 with a body of 50 MB", 12, raw("HTTP/1.1 401 Unauthorized\n\n"+strings.Repeat("x", 50<<20))),
		dials("continues", "100 Continue without end", 12, raw(strings.Repeat("HTTP/1.1 100 Continue\n\n", 100_000))),
		closes("protocol", 12, 1002, "protocol"),
		closes("superseded", 1, 4004, "superseded"),
		closes("name-taken", 1, 4005, "name_taken"),
		closes("unknown", 12, 4999, "\x1b[2J\nlevel=ERROR msg=forged"),
		{name: "relay-redirects", sent: "302 to another server, which would like the token", expected: "the other was asked 0 times", run: func(t *trial) string {
			other := t.startRelay(plain(200))
			r := t.startRelay(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://"+other.addr+"/agent/connect")
				w.WriteHeader(http.StatusFound)
			})
			t.follow(r)
			t.Until(rig.Patience, "the agent dials", func() bool { return len(r.dials()) > 0 })
			t.Wait(2 * time.Second)
			return fmt.Sprintf("the other was asked %d times", len(other.dials()))
		}},
	}
}

// longestWait is how long an agent may be put off: agent/backoff.go's number.
const longestWait = 5 * time.Minute

// putOff refuses an agent for longer than it may be put off. Its wait is drawn
// from nought on, so it may be back at any time: but not before that.
func (t *trial) putOff(refuse http.HandlerFunc) string {
	r := t.startRelay(refuse)
	a := t.follow(r)
	t.Until(rig.Patience, "the agent logs its wait", func() bool { return len(t.waits(a)) > 0 })
	t.Wait(5 * time.Second)
	dials, waits := r.dials(), t.waits(a)
	if !a.Runs() {
		return "the agent has ended"
	}
	for i, wait := range waits {
		if wait < 0 || wait > longestWait {
			return fmt.Sprintf("back after %v", wait)
		}
		if i+1 < len(dials) && dials[i+1].Sub(dials[i]) < wait-rounding {
			return fmt.Sprintf("back after %v, which was to be %v", dials[i+1].Sub(dials[i]), wait)
		}
	}
	return "back within 5 min, and no sooner than it has logged"
}

// rounding is what a wait is rounded to in the log.
const rounding = time.Millisecond

// waits are those before the next dial that an agent has logged.
func (t *trial) waits(a *agent) (all []time.Duration) {
	log, err := os.ReadFile(a.Log)
	t.Must(err)
	for line := range strings.Lines(string(log)) {
		if _, wait, ok := strings.Cut(line, "retry_in="); ok {
			d, err := time.ParseDuration(strings.TrimSpace(wait))
			t.Must(err)
			all = append(all, d)
		}
	}
	return all
}
