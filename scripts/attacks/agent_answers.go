package main

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// answerAttacks are of agents whose answers are none, by their own replica and
// over the bus.
func answerAttacks() []attack {
	answers := func(name, sent, expected string, with func(*peer, wire.Frame)) attack {
		return attack{name: "answer-" + name, sent: sent, expected: expected + "; over the bus " + expected, run: func(t *trial) string {
			p := t.link(0, guise{}).answers(with)
			near := t.scrape(0, attacker, small)
			if p.now() != "open" { // it cost the link
				t.link(0, guise{}).answers(with)
			}
			return near.String() + "; over the bus " + t.scrape(1, attacker, small).String()
		}}
	}
	const broken = "502 agent_protocol"
	refuses := func(name string, number wire.Reason) attack {
		return answers("nack-"+name, "NACK with the relay's own reason "+name, broken, func(p *peer, f wire.Frame) { p.send(nack(f, number)) })
	}
	ends := func(name string, number wire.Reason) attack {
		return answers("end-"+name, "END with the relay's own reason "+name, broken, func(p *peer, f wire.Frame) {
			p.send(reply(f, wire.TypeEnd, wire.End{Failure: &wire.Error{Reason: number}}.Append(nil)))
		})
	}
	status := func(name string, n int) attack {
		return answers("status-"+name, "HEAD with the status "+name, broken, func(p *peer, f wire.Frame) { p.send(head(f, n), end(f)) })
	}
	whole := func(name, sent, expected string, with func(wire.Frame) []wire.Frame) attack {
		return answers(name, sent, expected, func(p *peer, f wire.Frame) { p.send(with(f)...) })
	}
	data := func(f wire.Frame, n int) wire.Frame { return reply(f, wire.TypeData, make([]byte, n)) }
	return []attack{
		refuses("unauthorized", wire.Unauthorized),
		refuses("agent_unknown", wire.AgentUnknown),
		refuses("bus_unavailable", wire.BusUnavailable),
		refuses("internal", wire.Internal),
		refuses("200", 200),
		ends("unauthorized", wire.Unauthorized),
		ends("internal", wire.Internal),
		ends("agent_offline", wire.AgentOffline),
		status("0", 0), status("99", 99), status("101", 101), status("199", 199), status("600", 600), status("999", 999),
		whole("end-first", "END without HEAD", broken, func(f wire.Frame) []wire.Frame { return []wire.Frame{end(f)} }),
		whole("data-first", "DATA before HEAD", broken, func(f wire.Frame) []wire.Frame { return []wire.Frame{data(f, 10), end(f)} }),
		whole("two-heads", "two HEADs", broken, func(f wire.Frame) []wire.Frame { return []wire.Frame{head(f, 200), head(f, 200), end(f)} }),
		whole("head-of-3-bytes", "a HEAD of three bytes", broken, func(f wire.Frame) []wire.Frame {
			return []wire.Frame{reply(f, wire.TypeHead, []byte("abc")), end(f)}
		}),
		whole("crlf", "CRLF in a field's value", broken, func(f wire.Frame) []wire.Frame { return []wire.Frame{head(f, 200, "X: a\r\nSet-Cookie: b"), end(f)} }),
		whole("field-name", "a field's name with a space", broken, func(f wire.Frame) []wire.Frame { return []wire.Frame{head(f, 200, "X Y: a"), end(f)} }),
		whole("fields-257", "257 fields", broken, func(f wire.Frame) []wire.Frame {
			return []wire.Frame{head(f, 200, slices.Repeat([]string{"A: b"}, 257)...), end(f)}
		}),
		whole("header-33kB", "a header of 33 kB", broken, func(f wire.Frame) []wire.Frame {
			return []wire.Frame{head(f, 200, "A: "+strings.Repeat("x", 33<<10)), end(f)}
		}),
		whole("shorter", "less than its Content-Length", broken, func(f wire.Frame) []wire.Frame {
			return []wire.Frame{head(f, 200, "Content-Length: 100"), data(f, 10), end(f)}
		}),
		whole("longer", "more than its Content-Length", broken, func(f wire.Frame) []wire.Frame {
			return []wire.Frame{head(f, 200, "Content-Length: 3"), data(f, 10), end(f)}
		}),
		whole("two-lengths", "two Content-Lengths", broken, func(f wire.Frame) []wire.Frame {
			return []wire.Frame{head(f, 200, "Content-Length: 3", "Content-Length: 10"), data(f, 10), end(f)}
		}),
		whole("two-ends", "two ENDs, and DATA after them", "200 mallory", func(f wire.Frame) []wire.Frame {
			return []wire.Frame{head(f, 200), reply(f, wire.TypeData, []byte(ofAttacker)), end(f), end(f), data(f, 10)}
		}),
		{name: "answer-beyond-credit", sent: "HEAD and 60 kB of DATA in one message, where 16 kB were granted", expected: "over the bus " + broken, run: func(t *trial) string {
			t.link(0, guise{}).answers(func(p *peer, f wire.Frame) { p.send(head(f, http.StatusOK), data(f, 60_000), end(f)) })
			return "over the bus " + t.scrape(1, attacker, small).String()
		}},
		never(),
		{name: "answer-endless", sent: "a body without an end, within the credit", expected: "over the bus 200 cut, closed", run: func(t *trial) string {
			t.link(0, guise{}).answers(endless)
			return "over the bus " + t.scrape(1, attacker, small).String()
		}},
		{name: "answer-link-cut", sent: "HEAD, a part of the body, and then the link's end", expected: "503 agent_offline", run: func(t *trial) string {
			t.link(0, guise{}).answers(func(p *peer, f wire.Frame) {
				p.send(head(f, http.StatusOK), data(f, 10))
				_ = p.socket.Close()
			})
			return t.scrape(0, attacker, small).String()
		}},
		answers("ack-only", "ACK, and no more", "504 deadline", func(p *peer, f wire.Frame) { p.send(reply(f, wire.TypeAck, nil)) }),
		answers("drip", "a byte a second", "504 deadline", drip),
		fieldAttack("hop-by-hop", "fields that Connection names, and other hop-by-hop ones",
			"Connection: X-Secret, close", "X-Secret: 1", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Te: trailers", "Trailer: X", "Upgrade: h2c"),
		fieldAttack("origin", "fields that would hold for our origin",
			"Set-Cookie: a=b", "Refresh: 0;url=//evil.example", "Link: </x>; rel=preload", "Accept-CH: DPR", "Location: //evil.example", "Clear-Site-Data: \"*\"",
			"Access-Control-Allow-Origin: *", "Service-Worker-Allowed: /", "Strict-Transport-Security: max-age=0", "Alt-Svc: h3=\"evil:443\"", "Report-To: {}",
			"Content-Location: //evil.example", "WWW-Authenticate: Basic realm=\"x\"", "Origin-Trial: x", "SourceMap: //evil.example"),
		fieldAttack("farscrape", "fields that say they are ours", "Farscrape-Error: ok", "Farscrape-Scrape: x", "farscrape-token: x"),
	}
}

// never is an agent that says no word to a REQUEST. Its own replica has no other
// link to try and waits; another takes the replica for gone.
func never() attack {
	return attack{name: "answer-never", sent: "no word to a REQUEST", expected: "504 deadline; over the bus 503 agent_offline", run: func(t *trial) string {
		t.link(0, guise{}).answers(func(*peer, wire.Frame) {})
		return t.both(attacker, small)
	}}
}

// endless sends as much as it may, and goes on with every CREDIT.
func endless(p *peer, f wire.Frame) {
	q, err := wire.ParseRequest(f.Payload)
	if err != nil {
		return
	}
	p.send(head(f, http.StatusOK))
	go func() {
		for left := int64(q.Credit); ; {
			for ; left > 0; left -= 32 << 10 {
				p.send(reply(f, wire.TypeData, make([]byte, min(left, 32<<10))))
			}
			left = 0
			select {
			case more := <-p.credit:
				left += more
			case <-time.After(3 * time.Second):
				return
			case <-p.ended:
				return
			}
		}
	}()
}

// drip sends HEAD and a byte a second.
func drip(p *peer, f wire.Frame) {
	p.send(head(f, http.StatusOK))
	go func() {
		for range 5 {
			p.send(reply(f, wire.TypeData, []byte("x")))
			select {
			case <-time.After(time.Second):
			case <-p.ended:
				return
			}
		}
	}()
}

// fieldAttack answers with fields none of which may reach the scraper.
func fieldAttack(name, sent string, fields ...string) attack {
	return attack{name: "fields-" + name, sent: sent, expected: "200 mallory; passed: none", run: func(t *trial) string {
		t.link(0, guise{}).answers(func(p *peer, f wire.Frame) {
			p.send(head(f, http.StatusOK, fields...), reply(f, wire.TypeData, []byte(ofAttacker)), end(f))
		})
		o := t.scrape(0, attacker, small)
		return o.String() + "; passed: " + passed(o.header, fields)
	}}
}
