package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// An outcome is what a request came to.
type outcome struct {
	status int    // 0: no answer
	reason string // its Farscrape-Error; "-" if a failure has none
	header http.Header
	body   []byte
	cut    bool // the body broke off
	closed bool // the connection was, after the first answer
	more   int  // answers after the first
	took   time.Duration
}

// String is what a row shows of it: status and reason, or whose answer it is.
func (o outcome) String() string {
	var s string
	switch {
	case o.status == 0 && o.closed:
		return "closed without a word"
	case o.status == 0:
		return "no answer"
	case o.cut:
		s = fmt.Sprintf("%d cut", o.status)
	case o.status == http.StatusOK || o.reason == "-" && len(o.body) > 0 && o.header.Get("Content-Type") == "text/plain; version=0.0.4":
		s = fmt.Sprintf("%d %s", o.status, page(o.body))
	default:
		s = fmt.Sprintf("%d %s", o.status, o.reason)
	}
	if o.closed {
		s += ", closed"
	}
	if o.more > 0 {
		s += fmt.Sprintf(", and %d answers more", o.more)
	}
	return s
}

// page says what a body is.
func page(b []byte) string {
	if agent, name, _, err := rig.ParseBody(b); err == nil {
		return agent + "/" + name
	}
	text := string(b)
	switch {
	case text == ofAttacker:
		return attacker
	case text == ofHonest:
		return "honest"
	case strings.HasPrefix(text, `[{"targets"`), strings.HasPrefix(text, `[{"labels"`):
		return "list"
	case strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{"):
		return "json"
	case strings.Contains(text, "farscrape_relay_links "):
		return "the relay's metrics"
	case strings.Contains(text, "farscrape_agent_links "):
		return "the agent's metrics"
	}
	return fmt.Sprintf("%.40q", text)
}

// lull is how long a connection must say nothing to count as open.
const lull = 150 * time.Millisecond

// raw sends bytes to an address and reads one answer, and what follows it. It
// stops sending when the other side stops reading.
func (t *trial) raw(addr, request string) (o outcome) {
	conn, err := net.DialTimeout("tcp", addr, rig.Patience)
	t.Must(err)
	return t.exchange(conn, request)
}

// exchange is raw on a connection, which it closes.
func (t *trial) exchange(conn net.Conn, request string) (o outcome) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rig.Patience))
	began := time.Now()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(conn, request)
	}()
	defer func() { _ = conn.Close(); <-written }()
	reader := bufio.NewReader(conn)
	method, _, _ := strings.Cut(request, " ")
	o = readAnswer(reader, method)
	o.took = time.Since(began)
	for o.status != 0 && !o.closed {
		_ = conn.SetReadDeadline(time.Now().Add(lull))
		_, err := reader.Peek(1)
		if isTimeout(err) {
			return o
		}
		if err != nil {
			o.closed = true
			return o
		}
		if next := readAnswer(reader, method); next.status == 0 {
			o.closed = true
		} else {
			o.more++
			o.closed = next.closed
		}
	}
	return o
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// readAnswer reads an answer that is no 1xx, to a request of that method.
func readAnswer(reader *bufio.Reader, method string) (o outcome) {
	to := &http.Request{Method: method} // HEAD's has no body
	resp, err := http.ReadResponse(reader, to)
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(reader, to)
	}
	if err != nil {
		o.closed = !isTimeout(err)
		return o
	}
	o.status, o.header, o.closed = resp.StatusCode, resp.Header, resp.Close
	if o.reason = resp.Header.Get(wire.HeaderError); o.reason == "" {
		o.reason = "-"
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return o
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(resp.Body, 64<<20))
	o.body, o.cut = b.Bytes(), err != nil
	return o
}

// fill puts what a request needs in the place of its {names}, and ends its lines
// as HTTP does.
func (t *trial) fill(request string) string {
	r := t.stack.Replicas[0]
	return strings.NewReplacer(
		"\n", "\r\n", "{LF}", "\n", "{NUL}", "\x00", "{CR}", "\r", "{TLS}", "\x16\x03\x01\x00\xff", "{TEXT}", "\x81\x82\x00\x00\x00\x00hi",
		"{auth}", "Authorization: Bearer "+t.token, "{token}", t.token,
		"{other}", t.stack.scraperToken(otherTenant), "{relay}", r.Edge,
		"{port}", t.stack.targets.port(), "{agent}", t.stack.mint(token.Claims{Role: token.Agent, Name: attacker}), "{relay-port}", r.Edge[strings.LastIndexByte(r.Edge, ':')+1:],
	).Replace(request)
}

// send sends a filled request to the first replica, as a scraper.
func (t *trial) send(request string) outcome {
	return t.raw(t.stack.Replicas[0].Edge, t.fill(request))
}

// get scrapes or asks for a page in a request without oddities.
func (t *trial) get(path string, fields ...string) outcome {
	return t.send(request("GET "+path, append([]string{"{auth}"}, fields...)...))
}

// scrape scrapes an agent's target in path mode, by the replica of that number,
// with 2 s to answer.
func (t *trial) scrape(replica int, agent, target string) outcome {
	return t.raw(t.stack.Replicas[replica].Edge, t.fill(request("GET /scrape/"+agent+"/"+target, "{auth}", seconds+"2")))
}

const seconds = "X-Prometheus-Scrape-Timeout-Seconds: "

// many does something n times, so many at once, and counts what was seen.
func (t *trial) many(n, atOnce int, do func(i int) string) string {
	var mu sync.Mutex
	var doing errgroup.Group
	doing.SetLimit(atOnce)
	seen := make(map[string]int)
	for i := range n {
		if t.Ctx.Err() != nil {
			break
		}
		doing.Go(func() error {
			what := guarded(func() string { return do(i) })
			mu.Lock()
			defer mu.Unlock()
			seen[what]++
			return nil
		})
	}
	_ = doing.Wait()
	return counted(seen)
}

// guarded says why something could not be carried out, if it could not.
func guarded(do func() string) (seen string) {
	if err := rig.Try(func() { seen = do() }); err != nil {
		return "not carried out: " + err.Error()
	}
	return seen
}

// counted lists what was seen how often, the most frequent first.
func counted(seen map[string]int) string {
	var all []string
	for _, what := range rig.ByFrequency(seen) {
		all = append(all, fmt.Sprintf("%d × %s", seen[what], what))
	}
	return strings.Join(all, ", ")
}

// request is one with these fields, and a Host.
func request(line string, fields ...string) string {
	return line + " HTTP/1.1\nHost: {relay}\n" + strings.Join(append(fields, "\n"), "\n")
}

// asking is an attack that consists of one request and is over with its answer:
// nothing of it may reach a target, unless the answer is the target's own.
func asking(name, sent, request, expected string) attack {
	return attack{name: name, sent: sent, expected: expected, run: func(t *trial) string {
		before := t.stack.targets.asked("victim")
		o := t.send(request)
		seen := o.String()
		if asked := t.stack.targets.asked("victim") - before; o.status != http.StatusOK && o.status != 0 && asked > 0 {
			seen += "; a target was asked"
		}
		return seen
	}}
}
