package relay

import (
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

type noHop struct{}

func (noHop) request(legKey, *wire.Request, receiver) {}
func (noHop) pass(wire.Frame) error                   { return nil }
