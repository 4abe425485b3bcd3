package relay

import (
	"bytes"
	"io"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestAnAnswerThatFailsOnceItIsSettledIsNotWhole(t *testing.T) {
	r := New(Config{Registerer: prometheus.NewRegistry()})
	k := wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge"}
	x := &exchange{relay: r, route: &route{key: k, target: "node", local: &link{}}, hop: noHop{}, changed: make(chan struct{}, 1), window: localWindow(&r.growth, k)}
	frame := func(t wire.Type, payload []byte) { x.receive(wire.Frame{Type: t, Payload: payload}) }
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
	x := &exchange{relay: r, route: &route{key: k, target: "node"}, hop: noHop{}, changed: make(chan struct{}, 1), window: busWindow(&r.pool, k, holdWindow)}
	head := wire.Head{Status: 200}
	x.receive(wire.Frame{Type: wire.TypeHead, Payload: head.Append(nil)})
	var sent []byte
	for i, n := range []int{1, len(room{}) / 2, len(room{})/2 - 1, 2, len(room{})/2 + 9, len(room{}) / 2, len(room{}) - 1, 3} {
		piece := bytes.Repeat([]byte{byte(i)}, n)
		sent = append(sent, piece...)
		x.receive(wire.Frame{Type: wire.TypeData, Payload: piece})
	}
	x.receive(wire.Frame{Type: wire.TypeEnd, Payload: wire.End{}.Append(nil)})
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

func (noHop) request(legKey, *wire.Request, receiver) {}
func (noHop) pass(wire.Frame) error                   { return nil }
