package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// frameAttacks are of agents that are linked and do not keep to the protocol.
func frameAttacks() []attack {
	says := func(name, sent, expected string, with func(*peer)) attack {
		return attack{name: "frame-" + name, sent: sent, expected: expected, run: func(t *trial) string {
			p := t.link(0, guise{})
			with(p)
			return p.closes(time.Second)
		}}
	}
	frame := func(f wire.Frame) func(*peer) { return func(p *peer) { p.send(f) } }
	bytes := func(b string) func(*peer) { return func(p *peer) { p.write([]byte(b)) } }
	// below has bytes go out under the library, and wants the status only: the
	// words that go with it are the library's.
	below := func(name, sent, expected string, b string) attack {
		a := says(name, sent, expected, nil)
		a.run = func(t *trial) string {
			p := t.link(0, guise{})
			_, _ = p.socket.Write([]byte(b))
			return strings.Fields(p.closes(time.Second))[0]
		}
		return a
	}
	const protocol = "1002 protocol"
	header := func(kind, must, may byte) string {
		return string([]byte{kind, 0, must, may, 0, 0, 0, 0}) + strings.Repeat("\x00", 8)
	}
	return []attack{
		says("text", "a text message", protocol, func(p *peer) {
			_ = p.conn.Write(context.Background(), websocket.MessageText, []byte("hello"))
		}),
		says("garbage", "a message that is no frame", protocol, bytes("hello")),
		says("short", "a frame that is shorter than it says", protocol, bytes("\x06\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00x")),
		says("longer-than-4GB", "a frame that says it has 4 GB", protocol, bytes("\x06\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00x")),
		says("type-0", "type 0", protocol, bytes(header(0, 0, 0))),
		says("type-127", "an unknown type below 128", protocol, bytes(header(127, 0, 0))),
		says("type-200", "an unknown type from 128 on", "open", bytes(header(200, 0, 0))),
		says("must", "a flag in must", protocol, bytes(header(13, 1, 0))),
		says("request", "a REQUEST", protocol, frame(wire.Frame{Type: wire.TypeRequest, Scrape: 1, Payload: (&wire.Request{Agent: "victim", Target: small}).Append(nil)})),
		says("welcome", "a WELCOME", protocol, frame(wire.Frame{Type: wire.TypeWelcome, Payload: []byte("{}")})),
		says("credit", "CREDIT", protocol, frame(wire.Frame{Type: wire.TypeCredit, Payload: wire.AppendCredit(nil, 1<<31)})),
		says("ping", "PING", protocol, frame(wire.Frame{Type: wire.TypePing, Payload: wire.Ping{}.Append(nil)})),
		says("hello", "another HELLO", protocol, func(p *peer) { p.hello(attacker) }),
		says("pong-short", "a PONG of one byte", protocol, frame(wire.Frame{Type: wire.TypePong, Payload: []byte("x")})),
		says("pong-lie", "a PONG of another ping", "open", frame(wire.Frame{Type: wire.TypePong, Payload: wire.Ping{Token: 1 << 63}.Append(nil)})),
		says("drain-not-json", "a DRAIN that is no JSON", protocol, frame(wire.Frame{Type: wire.TypeDrain, Payload: []byte("{")})),
		says("drain", "DRAIN", "4002 drained", frame(wire.Frame{Type: wire.TypeDrain, Payload: []byte(`{"cause":"moved"}`)})),
		says("foreign-scrapes", "HEAD, DATA, END, ACK and NACK of scrapes that are not", "open", func(p *peer) {
			for i := range 1000 {
				f := wire.Frame{Attempt: uint8(i), Scrape: wire.NewScrapeID()}
				p.send(head(f, 200), reply(f, wire.TypeData, []byte("x")), end(f), reply(f, wire.TypeAck, nil), nack(f, wire.Internal))
			}
		}),
		below("message-of-65537", "a message of 65,537 bytes", "1002", "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00"+strings.Repeat("\x00", 65_537)),
		below("length-2-63", "a WebSocket length of 2⁶³−1", "1002", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"+strings.Repeat("\x00", 70_000)),
		below("length-2-64", "a WebSocket length of 2⁶⁴−1", "lost", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"),
		below("unmasked", "an unmasked WebSocket frame", "lost", "\x82\x01x"),
		below("reserved-bits", "reserved bits of WebSocket", "1002", "\xf2\x81\x00\x00\x00\x00x"),
		below("opcode-3", "an unknown opcode of WebSocket", "1002", "\x83\x81\x00\x00\x00\x00x"),
		below("fragmented-ping", "a fragmented ping of WebSocket", "1002", "\x09\x81\x00\x00\x00\x00x"),
		below("long-ping", "a ping of WebSocket of 126 bytes", "1002", "\x89\xfe\x00\x7e\x00\x00\x00\x00"+strings.Repeat("x", 126)),
		below("endless-fragments", "a message of 70,000 fragments", "1002", "\x02\x81\x00\x00\x00\x00x"+strings.Repeat("\x00\x81\x00\x00\x00\x00x", 70_000)),
		{name: "link-never-pongs", sent: "no PONG, ever", expected: "cut within 16 s, for 1 timeout", run: func(t *trial) string {
			before := t.closed("timeout")
			if t.link(0, guise{mute: true}).closes(16*time.Second) == "open" {
				return "open"
			}
			return fmt.Sprintf("cut within 16 s, for %d timeout", t.closed("timeout")-before)
		}},
		{name: "link-reads-nothing", sent: "an agent that reads nothing, and 200 scrapes of it with 30 kB of query each", expected: "the link is closed within 30 s", bound: bound{memory: 96}, run: deafAgent},
	}
}

// closed is how many links the first replica has closed for that cause.
func (t *trial) closed(cause string) int {
	return int(rig.Metric(t.stack.Replicas[0].Ops, "farscrape_relay_links_closed_total", `cause="`+cause+`"`))
}

// deafAgent fills what the relay has for an agent that does not read.
func deafAgent(t *trial) string {
	t.link(0, guise{deaf: true, mute: true})
	query := strings.Repeat("x", 30<<10)
	t.Note("%s", t.many(200, 200, func(i int) string {
		return t.send(request(fmt.Sprintf("GET /scrape/%s/%s?%s", attacker, small, query), "{auth}", seconds+"2")).String()
	}))
	if _, ok := t.Poll(rig.Patience, func() bool { return t.scrape(0, attacker, small).reason == "agent_offline" }); !ok {
		return "the link stays"
	}
	return "the link is closed within 30 s"
}
