package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// floodFor is how long an agent floods its link.
const floodFor = 3 * time.Second

// floodAttacks are of agents that send as fast as they can, or come and go. That
// an agent floods is seen of others only.
func floodAttacks() []attack {
	floods := func(name, sent string, b func(i int) []byte) attack {
		return attack{name: "flood-" + name, sent: sent + ", as fast as it goes, for 3 s", expected: "flooded", run: func(t *trial) string {
			p := t.link(0, guise{})
			n, until := 0, time.Now().Add(floodFor)
			_ = p.socket.SetWriteDeadline(until)
			for ; time.Now().Before(until) && p.now() == "open"; n++ {
				if _, err := p.socket.Write(b(n)); err != nil {
					break
				}
			}
			t.Note("%d times, then %s", n, p.closes(time.Second))
			return "flooded"
		}}
	}
	frames := func(name, sent string, f func(i int) wire.Frame) attack {
		return floods(name, sent, func(i int) []byte { return message(f(i).Append(nil)) })
	}
	list := func(i int) wire.Frame {
		return wire.Frame{Type: wire.TypeTargets, Payload: fmt.Appendf(nil, `{"targets":[{"name":"t%d"}]}`, i)}
	}
	return []attack{
		frames("lists", "changed TARGETS", list),
		frames("same-list", "unchanged TARGETS", func(int) wire.Frame { return list(0) }),
		frames("big-lists", "TARGETS of 60 kB", func(i int) wire.Frame {
			return wire.Frame{Type: wire.TypeTargets, Payload: fmt.Appendf(nil, `{"targets":[{"name":"t%d","path":"/%s"}]}`, i, strings.Repeat("x", 60_000))}
		}),
		frames("pongs", "PONG", func(int) wire.Frame { return wire.Frame{Type: wire.TypePong, Payload: wire.Ping{Token: 1}.Append(nil)} }),
		frames("foreign-data", "DATA of scrapes that are not", func(i int) wire.Frame {
			return wire.Frame{Type: wire.TypeData, Scrape: wire.ScrapeID(i), Payload: make([]byte, 1000)}
		}),
		frames("drain", "DRAIN", func(int) wire.Frame { return wire.Frame{Type: wire.TypeDrain, Payload: []byte(`{"cause":"x"}`)} }),
		frames("optional", "frames of an optional type", func(int) wire.Frame { return wire.Frame{Type: 200, Payload: make([]byte, 100)} }),
		floods("pings", "WebSocket's own pings", func(int) []byte { return []byte("\x89\x84\x00\x00\x00\x00ping") }),
		floods("empty-fragments", "empty fragments of one message", func(i int) []byte {
			if i == 0 {
				return []byte("\x02\x80\x00\x00\x00\x00")
			}
			return []byte(strings.Repeat("\x00\x80\x00\x00\x00\x00", 100))
		}),
		{name: "flapping", sent: "an agent links and goes 300 times", expected: "flapped", run: func(t *trial) string {
			t.Note("%s", t.many(300, 1, func(i int) string {
				p, seen := t.tryLink(i%2, guise{})
				if p != nil {
					_ = p.conn.CloseNow()
				}
				return seen
			}))
			return "flapped"
		}},
		{name: "one-name-twice", sent: "two processes take one name from each other 100 times", expected: "flapped", run: func(t *trial) string {
			t.Note("%s", t.many(100, 1, func(i int) string {
				_, seen := t.tryLink(i%2, guise{})
				return seen
			}))
			return "flapped"
		}},
		{name: "stalled-answers", sent: "12 agents of one token, each with 240 scrapes in flight, which answer 190 kB and no more", expected: "stalled",
			bound: bound{memory: 170, lines: 80, delay: time.Second}, run: stalledAnswers},
		{name: "nacks", sent: "an agent that sends each of 3,000 scrapes elsewhere", expected: "elsewhere", run: func(t *trial) string {
			t.link(0, guise{}).answers(func(p *peer, f wire.Frame) {
				p.send(reply(f, wire.TypeNack, (&wire.Nack{Error: wire.Error{Reason: wire.Draining}, Elsewhere: true}).Append(nil)))
			})
			t.Note("%s", t.asks(3000, t.token, func(int) string { return "/scrape/" + attacker + "/" + small }))
			return "elsewhere"
		}},
	}
}

// message is a WebSocket message with a mask of zeros, for what is written below
// the library.
func message(b []byte) []byte {
	header := []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for i := range 8 {
		header[9-i] = byte(len(b) >> (8 * i))
	}
	return append(header, b...)
}

// stalledAnswers has each of many scrapes hold as much of an answer as it can: a
// little less than what is delivered before the answer is whole.
func stalledAnswers(t *trial) string {
	const agents, targets, each = 12, 6, 40
	for i := range agents {
		t.link(0, guise{name: fmt.Sprintf("stall-%d", i), pattern: "stall-*", targets: manyTargets(targets, 0)}).answers(func(p *peer, f wire.Frame) {
			q, err := wire.ParseRequest(f.Payload)
			if err != nil {
				return
			}
			p.send(head(f, 200))
			for left := min(int(q.Credit), 190_000); left > 0; left -= 10_000 {
				p.send(reply(f, wire.TypeData, make([]byte, min(left, 10_000))))
			}
		})
	}
	t.Note("%s", t.many(agents*targets*each, agents*targets*each, func(i int) string {
		return t.get(fmt.Sprintf("/scrape/stall-%d/t%05d", i%agents, i/agents%targets), seconds+"5").String()
	}))
	return "stalled"
}
