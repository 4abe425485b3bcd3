package wire_test

import (
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestExtensions(t *testing.T) {
	q := wire.Request{Agent: "a", Extensions: wire.Extensions(nil).With(9, []byte("nine")).With(wire.ExtensionReasons, []byte{40}).With(10, nil)}
	payload := q.Append(nil)
	got, err := wire.ParseRequest(payload)
	if err != nil {
		t.Fatal(err)
	}
	payload[len(payload)-1] = 'x' // what is decoded is a copy
	if v, ok := got.Extensions.Get(9); string(v) != "nine" || !ok {
		t.Errorf("got %q, %v", v, ok)
	}
	if v, ok := got.Extensions.Get(10); len(v) != 0 || !ok {
		t.Errorf("the empty one is %q, %v", v, ok)
	}
	if _, ok := got.Extensions.Get(11); ok {
		t.Error("one is there that is not")
	}
	if got.Knows() != 40 {
		t.Errorf("it knows %d", got.Knows())
	}
	for cut := 1; cut < 4; cut++ {
		if _, err := wire.ParseRequest(payload[:len(payload)-cut]); err == nil {
			t.Errorf("without its last %d bytes it is one, too", cut)
		}
	}
}

func TestReasonsForOlderEdges(t *testing.T) {
	for _, c := range []struct{ reason, known, want wire.Reason }{
		{wire.Deadline, 0, wire.Deadline}, // as old as the protocol
		{wire.AgentProtocol, wire.Canceled, wire.Internal},
		{wire.AgentProtocol, wire.AgentProtocol, wire.AgentProtocol},
	} {
		if got := c.reason.For(c.known); got != c.want {
			t.Errorf("%s for who knows %s is %s, want %s", c.reason, c.known, got, c.want)
		}
	}
}
