package relay

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestAnAnswerThatFailsOnceItIsSettledIsNotWhole(t *testing.T) {
	r := New(Config{Registerer: prometheus.NewRegistry()})
	k := wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge"}
	x := &exchange{relay: r, route: &wire.Route{Agent: k, Target: "node", Local: true}, hop: noHop{}, changed: make(chan struct{}, 1), window: localWindow(r.local, k)}
	frame := func(t wire.Type, payload []byte) { x.Receive(wire.Frame{Type: t, Payload: payload}) }
	head := wire.Head{Status: 200}
	frame(wire.TypeHead, head.Append(nil))
	for x.window.received < wire.LocalWindow-wire.HoldReserve {
		frame(wire.TypeData, make([]byte, wire.HoldReserve))
	}
	if nack := x.settle(t.Context(), nil); nack != nil {
		t.Fatal(nack)
	}
	frame(wire.TypeEnd, wire.End{Failure: wire.Errorf(wire.TargetBadAnswer, "broke off")}.Append(nil))
	a := x.answer(t.Context(), func() {})
	if a.Whole || a.Length >= 0 {
		t.Errorf("whole %v, length %d", a.Whole, a.Length)
	}
	if _, err := io.ReadAll(a.Body); err == nil {
		t.Error("the body has no error")
	}
}

// Frames larger and smaller than a segment are put together in full ones.
func TestABodyOverTheBusComesAsItWasSent(t *testing.T) {
	r := New(Config{Registerer: prometheus.NewRegistry()})
	k := wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge"}
	x := &exchange{relay: r, route: &wire.Route{Agent: k, Target: "node"}, hop: noHop{}, changed: make(chan struct{}, 1), window: busWindow(r.pool, k, holdWindow)}
	head := wire.Head{Status: 200}
	x.Receive(wire.Frame{Type: wire.TypeHead, Payload: head.Append(nil)})
	var sent []byte
	for i, n := range []int{1, largeSegment / 2, largeSegment/2 - 1, 2, largeSegment/2 + 9, largeSegment / 2, largeSegment - 1, 3} {
		piece := bytes.Repeat([]byte{byte(i)}, n)
		sent = append(sent, piece...)
		x.Receive(wire.Frame{Type: wire.TypeData, Payload: piece})
	}
	x.Receive(wire.Frame{Type: wire.TypeEnd, Payload: wire.End{}.Append(nil)})
	if nack, settled := x.settled(); nack != nil || !settled {
		t.Fatal(nack, settled)
	}
	a := x.answer(t.Context(), func() {})
	defer a.Body.Close()
	var got bytes.Buffer
	if _, err := io.CopyN(&got, struct{ io.Reader }{a.Body}, 5); err != nil { // by Read, and the rest by WriteTo
		t.Fatal(err)
	}
	if _, err := io.Copy(&got, a.Body); err != nil || !bytes.Equal(got.Bytes(), sent) {
		t.Errorf("%d bytes of %d, or others: %v", got.Len(), len(sent), err)
	}
	if !a.Whole || a.Length != int64(len(sent)) {
		t.Errorf("whole %v, length %d", a.Whole, a.Length)
	}
}

type noHop struct{}

func (noHop) Request(wire.AttemptKey, *wire.Request, wire.Receiver) {}
func (noHop) Pass(wire.Frame) error                                 { return nil }

// Agents of one tenant begin answers, as many and as much of each as they may, and
// end some of them, which nobody reads. What all hold is bounded, another tenant's
// answer has a window, and nothing is lent once nobody waits.
func TestWhatAnswersHoldIsBounded(t *testing.T) {
	const agents, each = 16, 256
	r := New(Config{Registerer: prometheus.NewRegistry()})
	var all []*exchange
	begin := func(tenant, agent string) *exchange {
		k := wire.AgentKey{Tenant: tenant, Agent: agent}
		x := &exchange{relay: r, route: &wire.Route{Agent: k, Target: "node", Local: true}, hop: noHop{}, changed: make(chan struct{}, 1), window: localWindow(r.local, k)}
		head := wire.Head{Status: 200}
		x.Receive(wire.Frame{Type: wire.TypeHead, Payload: head.Append(nil)})
		all = append(all, x)
		return x
	}
	held := 0
	for i := range agents * each {
		x := begin("bad", fmt.Sprint(i%agents))
		for x.window.received < x.window.granted {
			x.Receive(wire.Frame{Type: wire.TypeData, Payload: make([]byte, min(4<<10, x.window.granted-x.window.received))})
		}
		if i%2 == 0 {
			x.Receive(wire.Frame{Type: wire.TypeEnd, Payload: wire.End{}.Append(nil)})
		}
		for _, s := range x.segments {
			held += cap(s)
		}
	}
	if most := localPool + agents*each*wire.BusWindow; held > most {
		t.Errorf("%d MiB are held, of %d", held>>20, most>>20)
	}
	if x := begin("good", "edge"); x.window.size < wire.LocalWindow {
		t.Errorf("another tenant's answer begins with %d KiB", x.window.size>>10)
	}
	for _, x := range all {
		x.cancel()
	}
	if lent := r.local.Taken(); lent != 0 {
		t.Errorf("%g bytes are lent when nobody waits", lent)
	}
}
