package wire_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestEventIDsAreInTheOrderTheyWereGivenIn(t *testing.T) {
	var ids []wire.EventID
	var last wire.EventID
	for _, millis := range []uint64{5, 5, 4, 9, 1, 10} { // a clock that goes back, too
		last = last.Next(millis)
		ids = append(ids, last)
	}
	if !slices.IsSortedFunc(ids, wire.EventID.Compare) || len(slices.Compact(ids)) != 6 || last != (wire.EventID{Millis: 10}) {
		t.Errorf("%v", ids)
	}
	for _, id := range append(ids, wire.EventID{Millis: 1<<64 - 1, Seq: 1<<64 - 1}) {
		if again, err := wire.ParseEventID(id.String()); err != nil || again != id {
			t.Errorf("%s is read as %s, %v", id, again, err)
		}
	}
	for _, bad := range []string{"", "-", "1", "1-", "-1", "+1-1", "01-1", "1-1-1", "1-18446744073709551616", " 1-1", "1-*"} {
		if id, err := wire.ParseEventID(bad); err == nil {
			t.Errorf("%q is read as %s", bad, id)
		}
	}
}

func anEvent() wire.Event {
	return wire.Event{
		ID: wire.EventID{Millis: 1, Seq: 2}, Time: time.UnixMilli(1).UTC(), Kind: wire.EventClosed,
		AgentKey: wire.AgentKey{Tenant: "t", Agent: "a"}, Link: "0123456789abcdef", Cause: "lost", Detail: "é",
	}
}

func TestAnEventIsChecked(t *testing.T) {
	good := anEvent()
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*wire.Event){
		"no kind":           func(e *wire.Event) { e.Kind = "" },
		"an odd kind":       func(e *wire.Event) { e.Kind = "a\nb" },
		"a long kind":       func(e *wire.Event) { e.Kind = wire.EventKind(strings.Repeat("k", 33)) },
		"an odd cause":      func(e *wire.Event) { e.Cause = "<b>" },
		"no tenant":         func(e *wire.Event) { e.Tenant = "" },
		"no agent":          func(e *wire.Event) { e.Agent = "" },
		"an odd link":       func(e *wire.Event) { e.Link = "x" },
		"two lines":         func(e *wire.Event) { e.Detail = "a\nb" },
		"a detail, no text": func(e *wire.Event) { e.Detail = "\xff" },
		"a long detail":     func(e *wire.Event) { e.Detail = strings.Repeat("x", wire.MaxEventDetail+1) },
	} {
		bad := anEvent()
		if change(&bad); bad.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	long := anEvent()
	long.Detail = strings.Repeat("é", wire.MaxEventDetail)
	if long.Clip(); long.Check() != nil || !utf8.ValidString(long.Detail) {
		t.Errorf("clipped to %d bytes: %v", len(long.Detail), long.Check())
	}
}

// What is read of an event, and taken, reads the same once more.
func FuzzEvent(f *testing.F) {
	b, err := json.Marshal(anEvent())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"id":"1-2","kind":"later","tenant":"t","agent":"a","more":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again wire.Event
		if json.Unmarshal(b, &e) != nil || e.Check() != nil {
			return
		}
		b, err := json.Marshal(e)
		if err != nil {
			return // a year that JSON does not have
		}
		if err := json.Unmarshal(b, &again); err != nil || again.ID != e.ID || again.Kind != e.Kind || again.AgentKey != e.AgentKey || again.Detail != e.Detail {
			t.Errorf("%s reads as %+v, %v", b, again, err)
		}
	})
}

func TestTargetsAreCompared(t *testing.T) {
	target := func(name string, port uint16) wire.Target { return wire.Target{Name: name, Port: port} }
	for _, c := range []struct {
		before, after []wire.Target
		want          string
	}{
		{nil, nil, "0 added, 0 removed, 0 changed"},
		{nil, []wire.Target{target("a", 1)}, "1 added, 0 removed, 0 changed"},
		{[]wire.Target{target("a", 1), target("b", 1), target("c", 1)}, []wire.Target{target("c", 1), target("b", 2), target("d", 1), target("e", 1)}, "2 added, 1 removed, 1 changed"},
	} {
		if got := wire.CountChanges(wire.NewTargetList(c.before), wire.NewTargetList(c.after)).String(); got != c.want {
			t.Errorf("%v: %s, want %s", c.after, got, c.want)
		}
	}
}
