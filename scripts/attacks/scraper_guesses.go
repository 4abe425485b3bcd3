package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// guessRate is how many wrong tokens a second a volley shows.
const guessRate = 10_000

// guessAttacks show tokens that are none, as many as one address can.
func guessAttacks() []attack {
	volley := func(name, sent, path string, role token.Role) attack {
		return attack{name: name, sent: sent + " with wrong signatures, 10,000 a second, by one address, whatever is answered, for 8 s",
			expected: "10,000 a second, 401; newcomers from there link and are scraped in their usual time", bound: bound{memory: 140, lines: 40 + 2*newcomersMost},
			run: func(t *trial) string { return t.volley(path, role) }}
	}
	return []attack{
		{name: "tokens-wrong", sent: "scrapes and links with tokens that are none, on 560 connections, as fast as they are answered, for 8 s",
			expected: "401 unauthorized; a newcomer from the same address: linked within 1 s, 200 newcomer-among-wrong/t", bound: bound{memory: 140}, run: wrongTokens},
		volley("tokens-wrong-of-scrapers", "scrapers' tokens", "/scrape/victim/t", token.Scraper),
		volley("tokens-wrong-of-agents", "agents' tokens", wire.ConnectPath, token.Agent),
	}
}

// wrongTokens shows made-up tokens, half of them as a scraper and half as an agent. Of
// one address 512 are kept waiting for a second each, and the others are answered.
func wrongTokens(t *trial) string {
	const connections = 560
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var answers atomic.Int64
	until := time.Now().Add(8 * time.Second)
	newcomer := make(chan string, 1)
	go func() {
		newcomer <- guarded(func() string {
			const name = "newcomer-among-wrong"
			t.Wait(4 * time.Second)
			seen := t.getsIn(guise{name: name})
			t.agentAt(name, t.stack.Replicas[1].Addr, "FARSCRAPE_TARGETS="+t.stack.targets.urls(name))
			return seen + ", " + t.scrape(0, name, "t").String()
		})
	}()
	seen := make(map[string]bool)
	var mu sync.Mutex
	t.many(connections, connections, func(i int) string {
		for n := 0; time.Now().Before(until); n++ {
			path := []string{"/scrape/victim/t", wire.ConnectPath}[i%2]
			resp, _, err := t.stack.get(client, t.stack.Replicas[0], path, fmt.Sprintf("eyJhbGciOiJub25lIn0.e%d.%d", i, n))
			what := "none: "
			if resp != nil {
				what = fmt.Sprintf("%d %s", resp.StatusCode, resp.Header.Get(wire.HeaderError))
			} else {
				what += err.Error()
			}
			answers.Add(1)
			mu.Lock()
			seen[what] = true
			mu.Unlock()
		}
		return ""
	})
	t.Note("%d answers", answers.Load())
	return fmt.Sprintf("%s; a newcomer from the same address: %s", strings.Join(slices.Sorted(maps.Keys(seen)), ", "), <-newcomer)
}

// A guesser is a connection that shows tokens without waiting for answers.
type guesser struct {
	conn    net.Conn
	request []byte
	digits  []byte       // of the request: the end of the token
	open    atomic.Int64 // requests without an answer
}

const (
	// guessers are the connections of a volley: twice as many as are kept waiting of
	// one address, so that as many are not.
	guessers = 1024
	// guessTogether is how many requests go out in one write, and guessOpen how many
	// of a connection may be without an answer: what the kernel's buffers take.
	guessTogether, guessOpen = 5, 200
)

// volley shows wrong tokens of that role at guessRate, on connections that have no
// answer to wait for as long as there are any, and has newcomers come before and during
// it.
func (t *trial) volley(path string, role token.Role) string {
	usual := t.newcomers("newcomer-before", func(i int) bool { return i < newcomersMost/3 })
	all := t.guessers(path, role)
	var reading sync.WaitGroup
	var answers sync.Map // status → *atomic.Int64
	for _, g := range all {
		reading.Go(func() { g.count(&answers) })
	}
	over := make(chan struct{})
	during := make(chan []time.Duration, 1)
	var lost error // set before during is closed
	go func() {
		defer close(during)
		lost = rig.Try(func() {
			during <- t.newcomers("newcomer-during", func(i int) bool {
				select {
				case <-over:
					return false
				case <-time.After(400 * time.Millisecond):
					return i < 2*newcomersMost/3
				}
			})
		})
	}()
	began := time.Now()
	offered := t.show(all, 8*time.Second)
	rate := float64(offered) / time.Since(began).Seconds()
	close(over)
	took := <-during
	for _, g := range all {
		_ = g.conn.Close()
	}
	reading.Wait()

	var seen []string
	answered := int64(0)
	answers.Range(func(status, n any) bool {
		seen = append(seen, status.(string))
		answered += n.(*atomic.Int64).Load()
		return true
	})
	t.Note("%.0f a second were offered, %.0f answered; newcomers took %s before, the slowest %s, and %s during it, the slowest %s", rate, rate*float64(answered)/float64(offered),
		milliseconds(median(usual)), milliseconds(slices.Max(usual)), milliseconds(median(took)), milliseconds(slices.Max(append(took, 0))))
	what := fmt.Sprintf("%.0f a second, %s", rate, strings.Join(seen, ", "))
	if rate >= 0.95*guessRate {
		what = "10,000 a second, " + strings.Join(seen, ", ")
	}
	switch {
	case lost != nil:
		return what + "; " + lost.Error()
	case median(took) > median(usual)+unusual || slices.Max(took) > time.Second:
		return what + "; newcomers from there do not link and are not scraped in their usual time"
	}
	return what + "; newcomers from there link and are scraped in their usual time"
}

// guessers opens the connections of a volley. A token of theirs is good but for its
// signature, which is the most work to refuse.
func (t *trial) guessers(path string, role token.Role) (all []*guesser) {
	for i := range guessers {
		good := t.stack.mint(token.Claims{Role: role, Name: "guess"})
		wrong := good[:strings.LastIndexByte(good, '.')+1] + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 16))
		request := []byte(t.fill(request("GET "+path, "Authorization: Bearer "+wrong, wire.HeaderAgent+": guess")))
		end := bytes.Index(request, []byte(wrong)) + len(wrong)
		conn := t.dial()
		t.Cleanup(func() { _ = conn.Close() })
		all = append(all, &guesser{conn: conn, request: request, digits: request[end-9 : end-1]})
	}
	return all
}

// show writes at guessRate for so long, and says how many.
func (t *trial) show(all []*guesser, long time.Duration) (offered int) {
	next := 0
	pick := func(most int64) *guesser {
		for range all {
			next = (next + 1) % len(all)
			if all[next].open.Load() <= most {
				return all[next]
			}
		}
		return nil
	}
	for began := time.Now(); time.Since(began) < long && t.Ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		for due := int(time.Since(began).Seconds() * guessRate); offered+guessTogether <= due; {
			g := pick(0)
			if g == nil {
				g = pick(guessOpen - guessTogether)
			}
			if g == nil {
				break // they would only fill our own buffers
			}
			var batch []byte
			for range guessTogether {
				offered++
				copy(g.digits, fmt.Sprintf("%08d", offered))
				batch = append(batch, g.request...)
			}
			g.open.Add(guessTogether)
			_, err := g.conn.Write(batch)
			t.Must(err)
		}
	}
	return offered
}

// count counts the answers by their status until the connection is closed.
func (g *guesser) count(answers *sync.Map) {
	lines := bufio.NewReader(g.conn)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		if status, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 ")); ok {
			n, _ := answers.LoadOrStore(string(status[:3]), new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			g.open.Add(-1)
		}
	}
}

// unusual is how much longer a newcomer may take during a volley than before: the two
// share two processors with who attacks. None may take a second.
const unusual = 50 * time.Millisecond

// newcomersMost is how many newcomers there are at most; each has two lines in the log.
const newcomersMost = 30

// newcomers has agents link and be scraped, one after the other for as long as more
// says, and returns how long each took.
func (t *trial) newcomers(name string, more func(i int) bool) (took []time.Duration) {
	for i := 0; more(i); i++ {
		began := time.Now()
		p, seen := t.tryLink(0, guise{name: fmt.Sprintf("%s-%s-%d", name, t.name, i)})
		if p == nil {
			t.Fatalf("a newcomer: %s", seen)
		}
		linked := time.Since(began)
		o := t.scrape(0, p.name, small)
		if o.status != http.StatusOK {
			t.Fatalf("a newcomer is scraped: %s", o)
		}
		took = append(took, linked+o.took)
		_ = p.conn.CloseNow()
		<-p.ended
	}
	return took
}

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(all))[len(all)/2]
}
