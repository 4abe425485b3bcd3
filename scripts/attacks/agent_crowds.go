package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// What one token for a pattern has of a replica: the numbers of relay/link's
// arrivals.go and debt.go, and of relay/loglimit.
const (
	crowdMessages  = 512    // begun and not ended
	crowdLists     = 24     // MiB, encoded: three quarters of the tenant's
	listsAtOnce    = 16_384 // that change
	listsPerSecond = 128
	crowdLines     = 3200 // 2,730 at once, and 32 a second
)

// maxLinks is FARSCRAPE_MAX_LINKS where a crowd wants them all, and flippers are how
// many agents change their lists.
const (
	maxLinks = 2000
	flippers = 500
)

// crowdAttacks are of whoever holds one token for a pattern, and makes up as many
// agents as it likes.
func crowdAttacks() []attack {
	return []attack{
		{name: "crowd-links", sent: "made-up agents open links until they are refused", plan: plan{env: fmt.Sprint("FARSCRAPE_MAX_LINKS=", maxLinks)},
			expected: "half of all; then 503, for FARSCRAPE_MAX_LINKS; its tenant's newcomer: linked within 1 s; another's: linked within 1 s",
			bound:    bound{memory: ofLinks(maxLinks / 2), left: 24, lines: crowdLines}, run: fillLinks},
		{name: "crowd-messages", sent: "1,500 made-up agents each begin a message of 60 kB and do not end it",
			expected: "no more held than 512 messages; a newcomer: linked within 1 s, 200 crowd-newcomer/large; all but 512: cut",
			bound:    bound{memory: ofLinks(1500) + crowdMessages*64>>10, left: 24, lines: crowdLines}, run: beginMessages},
		{name: "crowd-lists", sent: "24 made-up agents declare 2 MB each, all of it labels, while Redis hangs", plan: plan{apart: true}, breaks: true,
			expected: "24 MiB are taken; then 4008 refused, for FARSCRAPE_TENANT_MAX_BYTES; its tenant's newcomer: linked",
			bound:    bound{memory: 230, left: 24, lines: 120, pages: true}, run: fillLists},
		{name: "crowd-flips", sent: "500 made-up agents go from one list to another and back, as fast as it goes, for 8 s",
			expected: "no more lists were taken than of one token", bound: bound{memory: 96, lines: crowdLines}, run: func(t *trial) string { return t.flipLists(1) }},
		{name: "crowd-flips-packed", sent: "the same, with a thousand lists in a message",
			expected: "no more lists were taken than of one token", bound: bound{memory: 96, lines: crowdLines}, run: func(t *trial) string { return t.flipLists(1000) }},
	}
}

// ofLinks is the memory, in megabytes, that an attack with so many links may take:
// 24 KiB each, and what any attack may.
func ofLinks(n int) int { return bound{}.orStandard().memory + n*24>>10 }

// crowd is the guise of agents that are made up with one token.
func (t *trial) crowd() guise {
	return guise{token: t.stack.mint(token.Claims{Role: token.Agent, Name: "crowd-*"})}
}

// gather links so many of a crowd to the first replica.
func (t *trial) gather(n int, crowd guise) (in []*peer) {
	var mu sync.Mutex
	began := time.Now()
	seen := t.many(n, 16, func(i int) string {
		one := crowd
		one.name = fmt.Sprintf("%s-%d", t.name, i) // an attack's name begins as the token's pattern
		p, seen := t.tryLink(0, one)
		if p != nil {
			mu.Lock()
			defer mu.Unlock()
			in = append(in, p)
		}
		return seen
	})
	t.Note("%s in %.1f s", seen, time.Since(began).Seconds())
	return in
}

// fillLinks wants all the links that there are.
func fillLinks(t *trial) string {
	crowd := t.crowd()
	filled := "half of all"
	// Others' links count, too, and each takes from the half.
	if n := len(t.gather(maxLinks/2+100, crowd)); n > maxLinks/2 || n < maxLinks/2-len(t.stack.agents) {
		filled = fmt.Sprintf("%d of %d", n, maxLinks)
	}
	o := t.send("GET /agent/connect HTTP/1.1\nHost: x\nAuthorization: Bearer " + crowd.token + "\nFarscrape-Agent: crowd-late\n" +
		"Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Protocol: farscrape.v1\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n")
	return fmt.Sprintf("%s; then %s; its tenant's newcomer: %s; another's: %s", filled, forGood(o),
		t.getsIn(guise{name: "crowd-newcomer"}), t.getsIn(guise{name: "crowd-newcomer", tenant: otherTenant}))
}

// forGood is how an upgrade was refused for want of room: without a time to come
// back, since nobody knows when there will be any.
func forGood(o outcome) string {
	again := o.header.Get("Retry-After")
	switch {
	case o.reason != wire.Overloaded.String():
		return o.String()
	case again != "":
		return fmt.Sprintf("%d, come back within %s s", o.status, again)
	case !strings.Contains(string(o.body), "FARSCRAPE_MAX_LINKS"):
		return fmt.Sprintf("%d: %.100q", o.status, o.body)
	}
	return fmt.Sprintf("%d, for FARSCRAPE_MAX_LINKS", o.status)
}

// beginMessages wants a buffer for each link. A frame that is not ended leaves no
// room for a pong, so it is over before that is missed.
func beginMessages(t *trial) string {
	crowd := t.crowd()
	crowd.mute = true
	in := t.gather(1500, crowd)
	before := t.stack.usage().live
	for _, p := range in {
		_, _ = p.socket.Write(message(make([]byte, 60_000))[:59_000])
	}
	t.Wait(time.Second)
	held := fmt.Sprintf("no more held than %d messages", crowdMessages)
	took := t.stack.usage().live - before
	t.Note("the messages held %.1f MB of live heap", float64(took)/1e6)
	if most := crowdMessages * (96 << 10); took > most { // Go gives a buffer 72 KiB; the rest is of those that wait, and of bystanders
		held = fmt.Sprintf("%.1f MB held", float64(took)/1e6)
	}
	began := time.Now()
	t.agentAt("crowd-newcomer", t.stack.Replicas[0].Addr, "FARSCRAPE_TARGETS="+t.stack.targets.urls("crowd-newcomer"))
	newcomer := "linked within 1 s"
	if took := time.Since(began); took > time.Second {
		newcomer = fmt.Sprintf("linked after %.1f s", took.Seconds())
	}
	return fmt.Sprintf("%s; a newcomer: %s, %s; %s", held, newcomer, t.scrape(0, "crowd-newcomer", large), t.waiting(in))
}

// waiting is what becomes of the links whose messages find no place.
func (t *trial) waiting(in []*peer) string {
	still := func() (n int) {
		for _, p := range in {
			if p.now() == "open" {
				n++
			}
		}
		return n
	}
	after, ok := t.Poll(12*time.Second, func() bool { return still() <= crowdMessages })
	if n := still(); !ok || n < crowdMessages-10 { // a bystander's answer may just have had a place
		return fmt.Sprintf("%d open", n)
	}
	t.Note("the others were closed after %.1f s more", after.Seconds())
	for _, p := range in {
		if how := p.now(); how != "open" && cut(how) != "cut" {
			return "one: " + how
		}
	}
	return fmt.Sprintf("all but %d: cut", crowdMessages)
}

// fillLists declares what the directory would not take, while nobody can ask it.
func fillLists(t *trial) string {
	t.pauseRedis()
	t.Wait(3 * time.Second)
	crowd := t.crowd()
	crowd.targets = labelled(5400)
	taken := fmt.Sprintf("%d MiB are taken", crowdLists)
	size := t.encoded(crowd.targets)
	if n := len(t.gather(24, crowd)); n != crowdLists<<20/size {
		taken = fmt.Sprintf("%d × %d bytes are taken", n, size)
	}
	crowd.name = "crowd-late"
	then := "101"
	if p, seen := t.upgrade(0, crowd); p == nil {
		then = seen
	} else {
		p.introduce()
		if then = p.closes(5 * time.Second); then != "open" && strings.Contains(p.told, "FARSCRAPE_TENANT_MAX_BYTES") {
			then += ", for FARSCRAPE_TENANT_MAX_BYTES"
		}
	}
	_, newcomer := t.tryLink(0, guise{name: "crowd-newcomer", targets: crowd.targets})
	return fmt.Sprintf("%s; then %s; its tenant's newcomer: %s", taken, then, newcomer)
}

// labelled are targets of which a decoded list takes the most memory for its length:
// as many labels as they may have, each as short as can be.
func labelled(n int) []wire.Target {
	all := make([]wire.Target, n)
	for i := range all {
		all[i] = wire.Target{Name: fmt.Sprint(i), Scheme: "http", Port: 9100, Path: "/", Labels: make(map[string]string)}
		for j := range 32 {
			all[i].Labels[fmt.Sprintf("a%d", j)] = "x"
		}
	}
	return all
}

// encoded is how long a list is, in bytes, as it is counted.
func (t *trial) encoded(targets []wire.Target) (n int) {
	frames, err := wire.MarshalTargets(targets)
	t.Must(err)
	for _, f := range frames {
		n += len(f.Payload)
	}
	return n
}

// flipLists changes lists as fast as the relay reads them, so many in a message.
func (t *trial) flipLists(packed int) string {
	in := t.gather(flippers, t.crowd())
	list := func(name string) []byte {
		return wire.Frame{Type: wire.TypeTargets, Payload: fmt.Appendf(nil, `{"targets":[{"name":%q}]}`, name)}.Append(nil)
	}
	var flips []byte
	for range max(100, packed) / packed {
		flips = append(flips, message(bytes.Repeat(slices.Concat(list("a"), list("b")), (packed+1)/2))...)
	}
	before, until := t.stack.listsTaken(), time.Now().Add(8*time.Second)
	ended := t.many(len(in), len(in), func(i int) string {
		_ = in[i].socket.SetWriteDeadline(until)
		for {
			if _, err := in[i].socket.Write(flips); err != nil {
				return in[i].closes(time.Until(until))
			}
		}
	})
	taken := t.stack.listsTaken() - before
	t.Note("%d lists, %s", taken, ended)
	// A link reads one more before it waits, and its end is two lines.
	if most := listsAtOnce + listsPerSecond*time.Since(t.began).Seconds() + 3*flippers; float64(taken) > most {
		return fmt.Sprintf("%d lists were taken", taken)
	}
	return "no more lists were taken than of one token"
}

// listsTaken counts the lists that have changed, by the lines that the log has about
// it or has left out.
func (s *stack) listsTaken() (n int) {
	for _, r := range s.Replicas {
		n += len(r.Said(time.Time{}, "targets changed")) + int(rig.Metric(r.Ops, "farscrape_relay_log_lines_left_out_total"))
	}
	return n
}
