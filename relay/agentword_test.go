package relay_test

import (
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// What an agent does against the protocol is its own fault, and is said to be.
func TestAnAgentThatBreaksTheProtocolOfAScrape(t *testing.T) {
	answer := func(status int, fields ...wire.Field) func(f wire.Frame) []wire.Frame {
		h := wire.Head{Status: status, Header: fields}
		return func(f wire.Frame) []wire.Frame { return []wire.Frame{reply(f, wire.TypeHead, h.Append(nil))} }
	}
	length := func(n string) wire.Field { return wire.Field{Name: "Content-Length", Value: n} }
	five := []byte("up 1\n")
	for name, say := range map[string]func(f wire.Frame) []wire.Frame{
		"status 0":             answer(0),
		"status 99":            answer(99),
		"status 101":           answer(101),
		"status 999":           answer(999),
		"a field that is none": answer(200, wire.Field{Name: "a b", Value: "c"}),
		"CRLF in a field":      answer(200, wire.Field{Name: "A", Value: "b\r\nSet-Cookie: c=d"}),
		"half a HEAD":          func(f wire.Frame) []wire.Frame { return []wire.Frame{reply(f, wire.TypeHead, []byte{0})} },
		"a second HEAD":        func(f wire.Frame) []wire.Frame { return []wire.Frame{head(f), head(f)} },
		"DATA before HEAD":     func(f wire.Frame) []wire.Frame { return []wire.Frame{reply(f, wire.TypeData, five)} },
		"END without HEAD":     func(f wire.Frame) []wire.Frame { return []wire.Frame{end(f, nil)} },
		"half an END":          func(f wire.Frame) []wire.Frame { return []wire.Frame{head(f), reply(f, wire.TypeEnd, []byte{0, 0})} },
		"half a NACK":          func(f wire.Frame) []wire.Frame { return []wire.Frame{reply(f, wire.TypeNack, []byte{9})} },
		"a NACK of success":    func(f wire.Frame) []wire.Frame { return []wire.Frame{reply(f, wire.TypeNack, make([]byte, 4))} },
		"more than announced": func(f wire.Frame) []wire.Frame {
			return []wire.Frame{head(f, length("4")), reply(f, wire.TypeData, five), end(f, nil)}
		},
		"less than announced": func(f wire.Frame) []wire.Frame {
			return []wire.Frame{head(f, length("6")), reply(f, wire.TypeData, five), end(f, nil)}
		},
		"a NACK after the HEAD": func(f wire.Frame) []wire.Frame { return []wire.Frame{head(f), nack(f, wire.TargetRefused)} },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
				a := owner.dial(dialOptions{})
				done := edge.scrape(10 * time.Second)
				f, _ := a.request()
				a.send(say(f)...)
				wantReason(t, <-done, wire.AgentProtocol)
			})
		})
	}
}

// A 401 of the relay's own, or a 404 that delists, is not an agent's to give.
func TestAnAgentGivesItsOwnReasonsOnly(t *testing.T) {
	const its = " target_not_declared bad_request too_many_scrapes target_refused target_dns target_tls target_redirect target_bad_answer body_too_large deadline canceled "
	both(t, func(t *testing.T, _ *cluster, owner, edge *replica) {
		a := owner.dial(dialOptions{})
		for _, reason := range append(wire.Reasons(), 99) {
			if reason == wire.OK {
				continue
			}
			for kind, say := range map[string]func(wire.Frame, wire.Reason) wire.Frame{
				"END":  func(f wire.Frame, r wire.Reason) wire.Frame { return end(f, wire.Errorf(r, "so there")) },
				"NACK": nack,
			} {
				want := wire.AgentProtocol
				switch {
				case reason == wire.Canceled && kind == "END":
					want = wire.AgentOffline // nobody had cancelled: it stopped
				case reason == wire.Canceled: // nor is that a reason not to begin
				case reason != 99 && strings.Contains(its, " "+reason.String()+" "):
					want = reason
				}
				done := edge.scrape(10 * time.Second)
				f, _ := a.request()
				a.send(say(f, reason))
				for got := (result{}); got.err == nil; {
					select {
					case f = <-a.frames:
						if f.Type == wire.TypeRequest { // another try
							a.send(say(f, reason))
						}
						continue
					case got = <-done:
					}
					if got.reason() != want {
						t.Errorf("%s %v (%d): the scrape ends with %v, want %s", kind, reason, reason, got.err, want)
					}
					if want == wire.AgentProtocol && !strings.Contains(got.err.Detail, "so there") {
						t.Errorf("%s %v: nothing of what it said in %q", kind, reason, got.err.Detail)
					}
				}
			}
		}
	})
}

func nack(f wire.Frame, r wire.Reason) wire.Frame {
	n := wire.Nack{Error: *wire.Errorf(r, "so there")}
	return reply(f, wire.TypeNack, n.Append(nil))
}
