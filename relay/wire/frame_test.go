package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// The golden bytes are the protocol: a change here breaks every agent out
// there.
func TestGoldenFrames(t *testing.T) {
	request := wire.Request{
		Remaining: 10_000_000_000, Credit: 262144, Link: "0123456789abcdef", Tenant: "t", Agent: "a",
		Target: "node", Rest: "x/y", Query: "q=1", Header: []wire.Field{{Name: "Accept", Value: "*/*"}},
	}
	head := wire.Head{Status: 200, Header: []wire.Field{{Name: "A", Value: "b"}}}
	nack := wire.Nack{Error: wire.Error{Reason: wire.AgentOffline, Detail: "gone"}, Elsewhere: true}
	for _, c := range []struct {
		name  string
		frame wire.Frame
		want  string
	}{
		{"REQUEST", wire.Frame{Type: wire.TypeRequest, Attempt: 1, Scrape: 0x1122334455667788, Payload: request.Append(nil)},
			"04010000 0000003f 1122334455667788 00002710 00040000 0010 30313233343536373839616263646566 0001 74 0001 61 0004 6e6f6465 0003 782f79 0003 713d31 0001 0006 416363657074 0003 2a2f2a"},
		{"HEAD", wire.Frame{Type: wire.TypeHead, Attempt: 2, Scrape: 1, Payload: head.Append(nil)},
			"05020000 0000000a 0000000000000001 00c8 0001 0001 41 0001 62"},
		{"DATA", wire.Frame{Type: wire.TypeData, Attempt: 1, Scrape: 1, Payload: []byte("up 1")},
			"06010000 00000004 0000000000000001 75702031"},
		{"END whole", wire.Frame{Type: wire.TypeEnd, Attempt: 1, Scrape: 1, Payload: wire.End{Took: 258 * time.Microsecond}.Append(nil)},
			"07010000 00000007 0000000000000001 00 0000 00000102"},
		{"END deadline", wire.Frame{Type: wire.TypeEnd, Attempt: 1, Scrape: 1, Payload: wire.End{Failure: wire.Errorf(wire.Deadline, "x")}.Append(nil)},
			"07010000 00000008 0000000000000001 13 0001 78 00000000"},
		{"CREDIT", wire.Frame{Type: wire.TypeCredit, Attempt: 1, Scrape: 1, Payload: wire.AppendCredit(nil, 65536)},
			"08010000 00000004 0000000000000001 00010000"},
		{"CANCEL", wire.Frame{Type: wire.TypeCancel, Attempt: 1, Scrape: 1}, "09010000 00000000 0000000000000001"},
		{"NACK", wire.Frame{Type: wire.TypeNack, Attempt: 1, Scrape: 1, Payload: nack.Append(nil)},
			"0b010000 00000008 0000000000000001 0f 01 0004 676f6e65"},
		{"PING", wire.Frame{Type: wire.TypePing, Payload: wire.Ping{Token: 7, Replicas: 3}.Append(nil)},
			"0d000000 0000000a 0000000000000000 0000000000000007 0003"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.frame.Append(nil)
			if want := strings.ReplaceAll(c.want, " ", ""); hex.EncodeToString(got) != want {
				t.Fatalf("encoded\n%x, want\n%s", got, want)
			}
			f, rest, err := wire.Next(append(got, 0xff))
			if err != nil || len(rest) != 1 || f.Type != c.frame.Type || f.Scrape != c.frame.Scrape || f.Attempt != c.frame.Attempt || !bytes.Equal(f.Payload, c.frame.Payload) {
				t.Errorf("decoded %+v, %d left, %v", f, len(rest), err)
			}
		})
	}
}

func TestGoldenEnvelope(t *testing.T) {
	e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 5, Seq: 6, From: "0123456789abcdef", Frames: []byte{1, 2}}
	want := "01010000" + "00000002" + "0000000000000005" + "0000000000000006" + "30313233343536373839616263646566" + "0102"
	if got := hex.EncodeToString(e.Append(nil)); got != want {
		t.Fatalf("encoded\n%s, want\n%s", got, want)
	}
	got, err := wire.ParseEnvelope(e.Append(nil))
	if err != nil || got.Stream != 5 || got.Seq != 6 || got.From != e.From || !bytes.Equal(got.Frames, e.Frames) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestNextRefuses(t *testing.T) {
	ping := wire.Frame{Type: wire.TypePing}.Append(nil)
	with := func(i int, b byte) []byte {
		c := bytes.Clone(ping)
		c[i] = b
		return c
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"nothing", nil, wire.ErrTruncated},
		{"half a header", ping[:8], wire.ErrTruncated},
		{"a payload that is not there", with(7, 1), wire.ErrTruncated},
		{"a payload of 4 GiB", with(4, 0xff), wire.ErrTooLarge},
		{"type 0", with(0, 0), wire.ErrUnknown},
		{"an unknown type that matters", with(0, 15), wire.ErrUnknown},
		{"an unknown flag that matters", with(2, 1), wire.ErrUnknown},
		{"an unknown type that may be ignored", with(0, 128), nil},
		{"an unknown flag that may be ignored", with(3, 1), nil},
	} {
		if _, _, err := wire.Next(c.bytes); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestCutMessageKeepsFramesWhole(t *testing.T) {
	var queued []byte
	var want int
	for i := range 50 {
		f := wire.Frame{Type: wire.TypeData, Scrape: wire.ScrapeID(i), Payload: make([]byte, i*700)}
		queued = f.Append(queued)
		want++
	}
	got := 0
	for len(queued) > 0 {
		var message []byte
		message, queued = wire.CutMessage(queued)
		if len(message) == 0 || len(message) > wire.MaxMessage {
			t.Fatalf("a message of %d bytes", len(message))
		}
		for len(message) > 0 {
			f, rest, err := wire.Next(message)
			if err != nil || f.Scrape != wire.ScrapeID(got) {
				t.Fatalf("frame %d: %+v, %v", got, f.Scrape, err)
			}
			got++
			message = rest
		}
	}
	if got != want {
		t.Errorf("%d frames of %d", got, want)
	}
}

func TestReasonsHaveNameAndStatus(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range wire.Reasons() {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d: name %q", r, r)
		}
		seen[r.String()] = true
		if s := r.Status(); r != wire.TargetStatus && (s < 200 || s > 599) {
			t.Errorf("reason %s: status %d", r, s)
		}
	}
	if got := wire.Reason(250).Status(); got != 500 {
		t.Errorf("an unknown reason has status %d", got)
	}
}

func TestCausesComeBackFromTheirCode(t *testing.T) {
	for _, c := range wire.Causes() {
		if got := wire.CauseOf(c.Code()); got != c {
			t.Errorf("%s has code %d, which is %s", c, c.Code(), got)
		}
	}
	if got := wire.CauseOf(1011); got != wire.CauseLost {
		t.Errorf("an unknown code is %s", got)
	}
}
