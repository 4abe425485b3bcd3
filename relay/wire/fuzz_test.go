package wire_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// What decodes must encode to what was decoded, and nothing may panic.
func FuzzNext(f *testing.F) {
	q := wire.Request{Agent: "a", Target: "t", Header: []wire.Field{{Name: "A", Value: "b"}}, Extensions: wire.Extensions(nil).With(1, []byte{23}).With(7, nil)}
	h := wire.Head{Status: 200, Header: q.Header}
	n := wire.Nack{Error: wire.Error{Reason: wire.Deadline}}
	for t, payload := range map[wire.Type][]byte{
		wire.TypeRequest: q.Append(nil), wire.TypeHead: h.Append(nil), wire.TypeNack: n.Append(nil),
		wire.TypeEnd: wire.End{}.Append(nil), wire.TypeCredit: wire.AppendCredit(nil, 1), wire.TypePing: wire.Ping{}.Append(nil),
		wire.TypeHello:   []byte(`{"agent":"a","instance":"0123456789abcdef"}`),
		wire.TypeChange:  []byte(`{"removed":["a"],"targets":[{"name":"b"}]}`),
		wire.TypeTargets: []byte(`{"targets":[{"name":"a","labels":{"b":"c"}}]}`),
		wire.TypeDrain:   []byte(`{}`), wire.TypeWelcome: []byte(`{}`), 200: []byte("new"),
	} {
		f.Add(wire.Frame{Type: t, Attempt: 1, Scrape: 2, Payload: payload}.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; len(rest) > 0; {
			before := rest
			var frame wire.Frame
			var err error
			if frame, rest, err = wire.Next(rest); err != nil {
				return
			}
			again := frame.Append(nil)
			again[3] = before[3] // flags that may be ignored are
			if !bytes.Equal(again, before[:len(before)-len(rest)]) {
				t.Fatalf("%x decodes and encodes to %x", before, again)
			}
			parse(t, frame)
		}
	})
}

func parse(t *testing.T, f wire.Frame) {
	switch f.Type {
	case wire.TypeRequest:
		if q, err := wire.ParseRequest(f.Payload); err == nil && q.Fits() == nil {
			if !bytes.Equal(f.Payload[4:], q.Append(nil)[4:]) { // the time may be clamped
				t.Errorf("request %+v encodes to something else", q)
			}
		}
	case wire.TypeHead:
		if h, err := wire.ParseHead(f.Payload); err == nil && !bytes.Equal(f.Payload, h.Append(nil)) {
			t.Errorf("head %+v encodes to something else", h)
		}
	case wire.TypeEnd:
		_, _ = wire.ParseEnd(f.Payload)
	case wire.TypeNack:
		_, _ = wire.ParseNack(f.Payload)
	case wire.TypeCredit:
		_, _ = wire.ParseCredit(f.Payload)
	case wire.TypePing, wire.TypePong:
		_, _ = wire.ParsePing(f.Payload)
	case wire.TypeHello:
		_, _ = wire.ParseHello(f.Payload)
	case wire.TypeWelcome:
		_, _ = wire.ParseWelcome(f.Payload)
	case wire.TypeDrain:
		_, _ = wire.ParseDrain(f.Payload)
	case wire.TypeToken:
		_, _ = wire.ParseToken(f.Payload)
	case wire.TypeKept:
		_, _ = wire.ParseKept(f.Payload)
	case wire.TypeChange:
		_, _ = wire.ParseChange(f.Payload)
	case wire.TypeTargets:
		var list wire.TargetParts
		if whole, err := list.Add(f.Payload); err == nil && whole {
			if targets, err := list.Take(); err == nil {
				if err := wire.CheckTargets(targets.All()); err != nil {
					t.Errorf("a list that does not check is taken: %v", err)
				}
			}
		}
	}
}

// A list is read as encoding/json reads it, whatever its form.
func FuzzParseTargets(f *testing.F) {
	for _, list := range listForms {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		got, err := wire.ParseTargets(list)
		want, wantErr := parseTargetsByReflection(list)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, want %v", list, err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v, want %+v", list, got, want)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1, Seq: 1, From: "0123456789abcdef", Frames: []byte("frames")}
	f.Add(e.Append(nil))
	f.Add(append(wire.AppendSeal(e.Append(nil), "01234567", 1), make([]byte, wire.SealTagSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := wire.ParseEnvelope(b)
		if err != nil {
			return
		}
		again := e.Append(nil)
		if e.Seal.Key != nil {
			again = append(wire.AppendSeal(again, string(e.Seal.Key), e.Seal.Number), e.Seal.Tag...)
		}
		again[2], again[3] = b[2], b[3] // reserved, and not looked at
		if !bytes.Equal(again, b) {
			t.Fatalf("%x decodes and encodes to %x", b, again)
		}
	})
}

func FuzzMatchTarget(f *testing.F) {
	f.Add("edge:9100", "/metrics", "/a/", true)
	f.Fuzz(func(t *testing.T, address, path, declared string, subtree bool) {
		targets := []wire.Target{{Name: "a", Port: 9100, Path: declared, Subtree: subtree}}
		if wire.CheckTargets(targets) != nil {
			return
		}
		got, rest, err := wire.MatchTarget("edge", targets, address, path)
		if err == nil && got.Path+rest != path {
			t.Errorf("%q is taken for %q and %q", path, got.Path, rest)
		}
		if err == nil && got.ProxyAddress("edge") != address {
			t.Errorf("%q is taken for %q", address, got.ProxyAddress("edge"))
		}
	})
}

func FuzzNotice(f *testing.F) {
	f.Add(wire.MarshalControl(wire.Notice{Refused: []wire.RefusedAddress{{Target: "a", Address: "b:1", Why: wire.AddressOwn.Why()}}, More: 1}))
	f.Add([]byte(fmt.Sprintf(`{"refused":[%s{}]}`, strings.Repeat("{},", 100))))
	f.Fuzz(func(t *testing.T, payload []byte) {
		n, err := wire.ParseNotice(payload)
		if err == nil && (len(n.Refused) > wire.MaxRefused || n.More < 0) {
			t.Errorf("%d refusals and %d more", len(n.Refused), n.More)
		}
	})
}
