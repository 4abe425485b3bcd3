package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// NewEvent makes an event that has just happened, with a number in it.
func NewEvent(tenant, agent string, number int) wire.Event {
	return wire.Event{
		Time: time.Now(), Kind: wire.EventClosed, AgentKey: wire.AgentKey{Tenant: tenant, Agent: agent},
		Instance: wire.NewID[wire.InstanceID](), Link: wire.NewID[wire.LinkID](), Replica: wire.NewID[wire.ReplicaID](),
		Cause: wire.CauseLost.String(), Detail: fmt.Sprint(number),
	}
}

// events waits until the tenant's journal ends with the event of that number, and
// returns up to most of its youngest.
func (b *bench) events(tenant string, number, most int) wire.EventPage {
	b.t.Helper()
	var page wire.EventPage
	WaitUntil(b.t, within, fmt.Sprintf("event %d is in the journal", number), func() bool {
		var err error
		if page, err = b.EventsBefore(b.t.Context(), tenant, wire.EventID{}, most); err != nil {
			b.t.Fatal(err)
		}
		n := len(page.Events)
		return n > 0 && page.Events[n-1].Detail == fmt.Sprint(number)
	})
	return page
}

func (b *bench) eventsAfter(tenant string, after wire.EventID, most int) wire.EventPage {
	b.t.Helper()
	page, err := b.EventsAfter(b.t.Context(), tenant, after, most)
	if err != nil {
		b.t.Fatal(err)
	}
	return page
}

func numbersOf(events []wire.Event) (all []string) {
	for _, e := range events {
		all = append(all, e.Detail)
	}
	return all
}

func testEvents(t *testing.T, b *bench) {
	var given []wire.Event
	for i := range 5 {
		e := NewEvent("t", "a", i)
		e.Time = e.Time.Add(-time.Hour) // it has waited to be written
		given = append(given, e)
		b.Record(e)
	}
	b.Record(NewEvent("another", "a", 9))
	page := b.events("t", 4, 10)
	if page.More || page.Gap || len(page.Events) != len(given) || page.End != page.Events[0].ID {
		t.Fatalf("the journal is %+v", page)
	}
	for i, got := range page.Events {
		if off := got.Time.Sub(given[i].Time).Abs(); off > time.Minute {
			t.Errorf("event %d is %v off", i, off)
		}
		if i > 0 && got.ID.Compare(page.Events[i-1].ID) <= 0 {
			t.Errorf("%s comes after %s", got.ID, page.Events[i-1].ID)
		}
		if got.ID, got.Time = (wire.EventID{}), given[i].Time; got != given[i] {
			t.Errorf("event is\n%+v, want\n%+v", got, given[i])
		}
	}
	ids := page.Events
	for _, c := range []struct {
		page wire.EventPage
		want []string
		end  wire.EventID
		more bool
	}{
		{b.eventsAfter("t", wire.EventID{}, 2), []string{"0", "1"}, ids[1].ID, true},
		{b.eventsAfter("t", ids[1].ID, 2), []string{"2", "3"}, ids[3].ID, true},
		{b.eventsAfter("t", ids[3].ID, 2), []string{"4"}, ids[4].ID, false},
		{b.eventsAfter("t", ids[4].ID, 2), nil, ids[4].ID, false},
		{b.eventsAfter("nobody", wire.EventID{}, 2), nil, wire.EventID{}, false},
	} {
		if !slices.Equal(numbersOf(c.page.Events), c.want) || c.page.End != c.end || c.page.More != c.more || c.page.Gap {
			t.Errorf("read %+v, want %v up to %s", c.page, c.want, c.end)
		}
	}
	before, err := b.EventsBefore(t.Context(), "t", ids[3].ID, 2)
	if err != nil || !slices.Equal(numbersOf(before.Events), []string{"1", "2"}) || before.End != ids[1].ID || !before.More {
		t.Errorf("before the fourth there are %+v, %v", before, err)
	}
}

// A journal that is too long loses its oldest, and who goes on from one of these is
// told.
func testEventsBounded(t *testing.T, b *bench) {
	const written, least, most = 11_000, 10_000, 10_700
	b.Record(NewEvent("t", "a", 0))
	first := b.events("t", 0, 1).Events[0].ID
	for i := range written {
		b.Record(NewEvent("t", "a", i+1))
	}
	page := b.events("t", written, 2*written)
	if n := len(page.Events); n < least || n > most {
		t.Errorf("%d events are kept", n)
	}
	after := b.eventsAfter("t", first, 1)
	if !after.Gap || len(after.Events) != 1 || after.Events[0] != page.Events[0] {
		t.Errorf("after one that is not kept any more: %+v", after)
	}
	if last := page.Events[len(page.Events)-1].ID; b.eventsAfter("t", last, 1).Gap {
		t.Error("a gap after the last")
	}
	if never := b.eventsAfter("nobody", first, 1); !never.Gap || len(never.Events) != 0 || !never.End.IsZero() {
		t.Errorf("of a journal that has gone: %+v", never)
	}
}
