package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// handshakeAttacks are of those who were let in and do not come to the point.
func handshakeAttacks() []attack {
	begins := func(name, sent, expected string, with func(*peer)) attack {
		return attack{name: "hello-" + name, sent: sent, expected: expected, run: func(t *trial) string {
			p, seen := t.upgrade(0, guise{})
			if p == nil {
				return seen
			}
			with(p)
			return p.closes(2 * time.Second)
		}}
	}
	hello := func(text string) func(*peer) {
		return func(p *peer) {
			p.send(wire.Frame{Type: wire.TypeHello, Payload: []byte(strings.ReplaceAll(text, "{id}", string(p.instance)))})
		}
	}
	const refused, protocol = "4008 refused", "1002 protocol"
	return []attack{
		begins("not-json", "a HELLO that is no JSON", refused, hello("{")),
		begins("other-name", "a HELLO of another name", refused, hello(`{"agent":"victim","instance":"{id}","version":""}`)),
		begins("no-instance", "a HELLO without an instance", refused, hello(`{"agent":"mallory","version":""}`)),
		begins("negative-epoch", "an epoch of -1", refused, hello(`{"agent":"mallory","instance":"{id}","epoch":-1,"version":""}`)),
		begins("held-1000", "a HELLO that holds 1,000 links", refused, hello(`{"agent":"mallory","instance":"{id}","version":"","held":[`+strings.Repeat(`"0123456789abcdef",`, 999)+`"0123456789abcdef"]}`)),
		begins("deep-json", "a HELLO of 60,000 brackets", refused, hello(strings.Repeat("[", 60_000))),
		begins("twice", "two HELLOs", protocol, func(p *peer) { p.hello(attacker); p.hello(attacker) }),
		begins("after-targets", "TARGETS before HELLO", protocol, func(p *peer) {
			p.send(wire.Frame{Type: wire.TypeTargets, Payload: []byte(`{"targets":[]}`)})
		}),
		begins("pong-first", "PONG before HELLO", protocol, func(p *peer) { p.send(wire.Frame{Type: wire.TypePong, Payload: wire.Ping{}.Append(nil)}) }),
		{name: "hello-never", sent: "an upgrade that nothing follows", expected: "cut within 6 s", run: func(t *trial) string {
			p, seen := t.upgrade(0, guise{})
			if p == nil {
				return seen
			}
			return cut(p.closes(6*time.Second)) + " within 6 s"
		}},
		{name: "targets-drip", sent: "a list that comes target by target, one a second", expected: "cut within 11 s", run: func(t *trial) string {
			p, seen := t.upgrade(0, guise{})
			if p == nil {
				return seen
			}
			p.hello(attacker)
			for i := range 11 {
				p.send(wire.Frame{Type: wire.TypeTargets, Payload: fmt.Appendf(nil, `{"targets":[{"name":"t%d"}],"more":true}`, i)})
				if seen := p.closes(time.Second); seen != "open" {
					return cut(seen) + " within 11 s"
				}
			}
			return "open"
		}},
		{name: "handshakes-of-agent", sent: "140 upgrades of one agent that say nothing; then another agent comes", expected: "another is linked within 1 s", run: func(t *trial) string {
			return t.crowdOut(func(int) guise { return guise{} }, guise{name: "newcomer"})
		}},
		{name: "handshakes-of-tenant", sent: "140 upgrades of one tenant's agents that say nothing; then another tenant's comes", expected: "another is linked within 1 s", bound: bound{lines: 200}, run: func(t *trial) string {
			return t.crowdOut(func(i int) guise { return guise{name: fmt.Sprintf("crowd-%d", i), pattern: "crowd-*"} }, guise{name: "newcomer", tenant: otherTenant})
		}},
		{name: "links-120", sent: "one agent opens 120 links at once", expected: "no more than 16 linked", bound: bound{lines: 60}, run: func(t *trial) string {
			var linked atomic.Int64
			instance := wire.NewID[wire.InstanceID]()
			seen := t.many(120, 120, func(int) string {
				p, seen := t.tryLink(0, guise{instance: instance})
				if p != nil {
					linked.Add(1)
				}
				return seen
			})
			t.Note("%s", seen)
			if n := linked.Load(); n > 16 || n == 0 {
				return fmt.Sprintf("%d linked", n)
			}
			return "no more than 16 linked"
		}},
	}
}

// cut is how a link ended that the relay takes for dead: without a word, since
// nobody would hear it.
func cut(status string) string {
	if status == "lost" {
		return "cut"
	}
	return status
}

// crowdOut opens upgrades that say nothing, and then wants a place for an agent
// that does.
func (t *trial) crowdOut(crowd func(int) guise, honest guise) string {
	t.Note("%s", t.many(140, 20, func(i int) string {
		_, seen := t.upgrade(0, crowd(i))
		return seen
	}))
	return "another is " + t.getsIn(honest)
}

// getsIn links an agent that may be put off until within a second.
func (t *trial) getsIn(honest guise) string {
	began := time.Now()
	for {
		p, seen := t.tryLink(0, honest)
		switch {
		case p != nil && time.Since(began) <= time.Second:
			return "linked within 1 s"
		case p != nil || time.Since(began) > rig.Patience:
			return fmt.Sprintf("%s after %.1f s", seen, time.Since(began).Seconds())
		}
		t.Wait(100 * time.Millisecond)
	}
}
