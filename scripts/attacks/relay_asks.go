package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// relayAttacks are of a relay that is none of the agent's friends.
func relayAttacks() []attack {
	return append(relayAsks(), relayRefuses()...)
}

// relayAsks are of one that has the agent's link.
func relayAsks() []attack {
	asks := func(name, sent, expected string, q wire.Request) attack {
		return attack{name: "relay-" + name, sent: sent, expected: expected, run: func(t *trial) string {
			_, _, l := t.linked()
			before := t.stack.targets.asked(follower)
			seen := l.welcome(welcome()).answered(l.request(q))
			return fmt.Sprintf("%s; targets asked %d times", seen, t.stack.targets.asked(follower)-before)
		}}
	}
	says := func(name, sent, expected string, with func(*hostileLink)) attack {
		return attack{name: "relay-" + name, sent: sent, expected: expected, run: func(t *trial) string {
			_, _, l := t.linked()
			l.welcome(welcome())
			with(l)
			return l.closes(time.Second)
		}}
	}
	welcomes := func(name, sent string, change func(*wire.Welcome)) attack {
		return attack{name: "relay-welcome-" + name, sent: sent, expected: "scraped; no more than 10 dials", run: func(t *trial) string {
			r, _, l := t.linked()
			w := welcome()
			change(&w)
			l.welcome(w)
			t.Wait(2 * time.Second)
			return r.scrapable(l)
		}}
	}
	frame := func(f wire.Frame) func(*hostileLink) { return func(l *hostileLink) { l.send(f) } }
	const protocol, unasked = "1002 protocol", "; targets asked 0 times"
	request := func(target string) wire.Request { return wire.Request{Target: target, Credit: wire.LocalWindow} }
	with := func(q wire.Request, fields ...wire.Field) wire.Request { q.Header = fields; return q }
	rest := func(r string) wire.Request { q := request(subtree); q.Rest = r; return q }
	return []attack{
		asks("undeclared", "a REQUEST for what is not declared", "NACK target_not_declared"+unasked, request("passwd")),
		asks("other-agent", "a REQUEST for another agent", "NACK agent_unknown"+unasked, wire.Request{Agent: "victim", Target: small, Credit: 1}),
		asks("rest-dots", "a rest of ../../mate/t", "NACK target_not_declared"+unasked, rest("../../mate/t")),
		asks("rest-encoded-dots", "a rest of %2e%2e/t", "NACK target_not_declared"+unasked, rest("%2e%2e/t")),
		asks("rest-backslash", `a rest of ..\t`, "NACK target_not_declared"+unasked, rest(`..\t`)),
		asks("rest-newline", "a rest with CRLF", "NACK target_not_declared"+unasked, rest("a HTTP/1.1\r\nX: y")),
		asks("rest-host", "a rest that begins with //", "NACK target_not_declared"+unasked, rest("//evil.example/x")),
		asks("rest-of-none", "a rest of a target that is no subtree", "NACK target_not_declared"+unasked, wire.Request{Target: small, Rest: "x", Credit: 1}),
		asks("query-newline", "a query with CRLF", "NACK bad_request"+unasked, wire.Request{Target: small, Query: "a HTTP/1.1\r\nX: y", Credit: 1}),
		asks("field-crlf", "CRLF in a field", "NACK bad_request"+unasked, with(request(small), wire.Field{Name: "X", Value: "a\r\nY: b"})),
		asks("field-space", "a field's name with a space", "NACK bad_request"+unasked, with(request(small), wire.Field{Name: "X Y", Value: "a"})),
		{name: "relay-framing-fields", sent: "Host, Content-Length, Transfer-Encoding, Connection and Upgrade in a REQUEST", expected: "END ok; the target got none of them", run: func(t *trial) string {
			_, _, l := t.linked()
			seen := l.welcome(welcome()).answered(l.request(with(request(small), wire.Field{Name: "Host", Value: "evil.example"}, wire.Field{Name: "Content-Length", Value: "5"},
				wire.Field{Name: "Transfer-Encoding", Value: "chunked"}, wire.Field{Name: "Connection", Value: "close"}, wire.Field{Name: "Upgrade", Value: "h2c"})))
			got := t.stack.targets.got(follower, small)
			seen, _, _ = strings.Cut(seen, " after")
			if got.Host != t.stack.targets.addr || got.ContentLength != 0 || len(got.TransferEncoding) > 0 || got.Header.Get("Connection")+got.Header.Get("Upgrade") != "" {
				return fmt.Sprintf("%s; the target got Host %s, %d bytes, %v", seen, got.Host, got.ContentLength, got.Header)
			}
			return seen + "; the target got none of them"
		}},
		asks("time-none", "a REQUEST with 50 ms left", "END deadline; targets asked 1 times", wire.Request{Target: slow, Remaining: 50 * time.Millisecond, Credit: 1}),
		says("text", "a text message", protocol, func(l *hostileLink) { _ = l.conn.Write(l.Ctx, websocket.MessageText, []byte("x")) }),
		says("garbage", "a message that is no frame", protocol, func(l *hostileLink) { l.write([]byte("x")) }),
		says("message-of-65537", "a message of 65,537 bytes", protocol, func(l *hostileLink) { l.write(make([]byte, 65_537)) }),
		says("request-malformed", "a REQUEST of three bytes", "open", frame(wire.Frame{Type: wire.TypeRequest, Payload: []byte("abc")})),
		says("type-127", "an unknown type below 128", protocol, frame(wire.Frame{Type: 127})),
		says("type-200", "an unknown type from 128 on", "open", frame(wire.Frame{Type: 200})),
		says("hello", "a HELLO", protocol, frame(wire.Frame{Type: wire.TypeHello, Payload: []byte("{}")})),
		says("head", "a HEAD", protocol, frame(wire.Frame{Type: wire.TypeHead, Scrape: 1, Payload: []byte("xx")})),
		says("ping-short", "a PING of one byte", protocol, frame(wire.Frame{Type: wire.TypePing, Payload: []byte("x")})),
		says("welcome-not-json", "a WELCOME that is no JSON", protocol, frame(wire.Frame{Type: wire.TypeWelcome, Payload: []byte("{")})),
		says("credit-unknown", "CREDIT and CANCEL of scrapes that are not", "open", func(l *hostileLink) {
			for i := range 1000 {
				l.send(wire.Frame{Type: wire.TypeCredit, Scrape: wire.ScrapeID(i), Payload: wire.AppendCredit(nil, 1<<32-1)}, wire.Frame{Type: wire.TypeCancel, Scrape: wire.ScrapeID(i)})
			}
		}),
		welcomes("heartbeat", "a WELCOME with a heartbeat of 0 and a time-out of 1 ms", func(w *wire.Welcome) { w.HeartbeatMillis, w.PeerTimeoutMillis = 0, 1 }),
		welcomes("negative", "a WELCOME with a time-out below 0", func(w *wire.Welcome) { w.HeartbeatMillis, w.PeerTimeoutMillis = -1, -1 }),
		welcomes("limits", "a WELCOME with limits below 0", func(w *wire.Welcome) { w.MaxInflightTarget, w.MaxInflightAgent = -1, -1 }),
		welcomes("replicas", "a WELCOME of a billion replicas", func(w *wire.Welcome) { w.Replicas = 1 << 30 }),
		{name: "relay-credit-overflow", sent: "CREDIT of 2³²−1, a thousand times", expected: "END ok, whole", run: func(t *trial) string {
			_, _, l := t.linked()
			id := l.welcome(welcome()).request(wire.Request{Target: large, Credit: 1<<32 - 1, Remaining: 5 * time.Second})
			for range 1000 {
				l.send(wire.Frame{Type: wire.TypeCredit, Attempt: 1, Scrape: id, Payload: wire.AppendCredit(nil, 1<<32-1)})
			}
			seen := l.answered(id)
			if want := fmt.Sprintf("END ok after %d bytes", len(rig.Body(follower, large, t.stack.targets.sequence.Load(), largeSize))); seen == want {
				return "END ok, whole"
			}
			return seen
		}},
		{name: "relay-requests-5000", sent: "5,000 REQUESTs at once of a target that does not answer", expected: "no more than 64 asked; scraped", run: func(t *trial) string {
			r, _, l := t.linked()
			l.welcome(welcome())
			before := t.stack.targets.asked(follower)
			for range 5000 {
				l.request(wire.Request{Target: slow, Credit: 1, Remaining: 3 * time.Second})
			}
			t.Wait(2 * time.Second)
			asked := "no more than 64 asked"
			if n := t.stack.targets.asked(follower) - before; n > 64 {
				asked = fmt.Sprintf("%d asked", n)
			}
			t.Wait(2 * time.Second)
			seen, _, _ := strings.Cut(r.scrapable(l), ";")
			return asked + "; " + seen
		}},
		{name: "relay-cancels", sent: "3,000 REQUESTs, each with its CANCEL", expected: "scraped", run: func(t *trial) string {
			r, _, l := t.linked()
			l.welcome(welcome())
			for range 3000 {
				id := l.request(wire.Request{Target: slow, Credit: 1, Remaining: 3 * time.Second})
				l.send(wire.Frame{Type: wire.TypeCancel, Attempt: 1, Scrape: id})
			}
			t.Wait(time.Second)
			seen, _, _ := strings.Cut(r.scrapable(l), ";")
			return seen
		}},
		{name: "relay-pings", sent: "20,000 PINGs", expected: "a PONG for the last", run: func(t *trial) string {
			_, _, l := t.linked()
			l.welcome(welcome())
			for i := range 20_000 {
				l.send(wire.Frame{Type: wire.TypePing, Payload: wire.Ping{Token: uint64(i), Replicas: 1}.Append(nil)})
			}
			if _, ok := t.Poll(10*time.Second, func() bool { return l.lastPong.Load() == 19_999 }); !ok {
				return fmt.Sprintf("the last PONG is for %d", l.lastPong.Load())
			}
			return "a PONG for the last"
		}},
		{name: "relay-drains", sent: "1,000 DRAINs", expected: "scraped; no more than 10 dials", run: func(t *trial) string {
			r, _, l := t.linked()
			l.welcome(welcome())
			for range 1000 {
				l.send(wire.Frame{Type: wire.TypeDrain, Payload: []byte(`{"cause":"x","within_ms":-1}`)})
			}
			t.Wait(3 * time.Second)
			return r.scrapable(l)
		}},
		{name: "relay-silent", sent: "no PING, ever", expected: "the agent leaves within 16 s", run: func(t *trial) string {
			_, _, l := t.linked()
			l.welcome(welcome())
			if l.closes(16*time.Second) == "open" {
				return "the agent stays"
			}
			return "the agent leaves within 16 s"
		}},
	}
}

// scrapable reports whether the agent can still be asked, by the last link that
// it opened, and how often it has dialled.
func (r *hostileRelay) scrapable(l *hostileLink) string {
	for len(r.links) > 0 {
		l = (<-r.links).welcome(welcome())
	}
	seen := l.answered(l.request(wire.Request{Target: small, Credit: wire.LocalWindow, Remaining: 3 * time.Second}))
	if strings.HasPrefix(seen, "END ok") {
		seen = "scraped"
	}
	if n := len(r.dials()); n > 10 {
		return fmt.Sprintf("%s; %d dials", seen, n)
	}
	return seen + "; no more than 10 dials"
}
