package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
)

// A fakeJournal is the embedded store's, which a test can take away.
type fakeJournal struct {
	*store.Memory
	away  atomic.Bool
	looks atomic.Int64 // for the newest event
	read  atomic.Int64 // events, but by looks
}

func newFakeJournal() *fakeJournal {
	return &fakeJournal{Memory: store.NewMemory(store.MemoryConfig{})}
}

var errAway = errors.New("redis is away")

func (j *fakeJournal) EventsAfter(ctx context.Context, tenant string, after wire.EventID, most int) (wire.EventPage, error) {
	if j.away.Load() {
		return wire.EventPage{}, errAway
	}
	page, err := j.Memory.EventsAfter(ctx, tenant, after, most)
	j.read.Add(int64(len(page.Events)))
	return page, err
}

func (j *fakeJournal) EventsBefore(ctx context.Context, tenant string, before wire.EventID, most int) (wire.EventPage, error) {
	if most == 1 {
		j.looks.Add(1)
	}
	if j.away.Load() {
		return wire.EventPage{}, errAway
	}
	page, err := j.Memory.EventsBefore(ctx, tenant, before, most)
	if most > 1 {
		j.read.Add(int64(len(page.Events)))
	}
	return page, err
}

// happen puts a numbered event into a tenant's journal.
func (j *fakeJournal) happen(tenant, agent string, kind wire.EventKind, number int) {
	j.Record(wire.Event{Time: time.Now(), Kind: kind, AgentKey: wire.AgentKey{Tenant: tenant, Agent: agent}, Detail: fmt.Sprint(number)})
}

// A readList is an answer to /api/v1/events.
type readList struct {
	Events []wire.Event `json:"events"`
	Next   string       `json:"next"`
	Missed bool         `json:"missed"`
}

// numbers are those of the events.
func (l readList) numbers() string {
	var all []string
	for _, e := range l.Events {
		all = append(all, e.Detail)
	}
	return strings.Join(all, " ")
}

func (b *bench) events(t *testing.T, token, query string) (list readList) {
	t.Helper()
	o := b.send(t, "GET /api/v1/events"+query+" HTTP/1.1\nHost: "+b.addr+"\nAuthorization: Bearer "+token+"\n\n")
	if o.want(t, 200, ""); o.Header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type %q", o.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal([]byte(o.body), &list); err != nil || list.Events == nil {
		t.Fatalf("%v: %s", err, o.body)
	}
	return list
}

func TestEventsAreListed(t *testing.T) {
	b := newBench(t)
	if list := b.events(t, b.scraper, ""); len(list.Events) != 0 || list.Next != "0-0" {
		t.Errorf("of nothing: %+v", list)
	}
	for i := range 1200 {
		kind := wire.EventLinked
		if i%2 == 1 {
			kind = wire.EventClosed
		}
		b.journal.happen("default", fmt.Sprintf("edge-%d", i%3), kind, i)
		b.journal.happen("blue", "edge-1", wire.EventRefused, -i)
	}
	first := b.events(t, b.scraper, "?after=0-0&limit=1")
	for query, want := range map[string]string{
		"?limit=3":                                              "1197 1198 1199",
		"?limit=2&agent=edge-0&kind=closed":                     "1191 1197",
		"?limit=2&agent=Edge-%5B01%5D":                          "1197 1198",
		"?limit=2&agent=edge-0&agent=edge-1":                    "1197 1198",
		"?limit=4&kind=linked&kind=closed":                      "1196 1197 1198 1199",
		"?after=0-0&limit=2":                                    "0 1",
		"?limit=2&agent=edge-1&after=" + first.Next:             "1 4",
		"?limit=1&agent=edge-1&kind=closed&after=" + first.Next: "1",
		"?kind=refused":                                         "",
		"?agent=nobody":                                         "",
	} {
		if got := b.events(t, b.scraper, query); got.numbers() != want || got.Missed {
			t.Errorf("%s: %q, want %q", query, got.numbers(), want)
		}
	}
	if list := b.events(t, b.scraper, ""); len(list.Events) != 100 || list.Next != list.Events[99].ID.String() {
		t.Errorf("without a limit: %d, then %s", len(list.Events), list.Next)
	}
	// In parts, all of it, and whatever is left out ends in the same place.
	for _, query := range []string{"?limit=7", "?limit=900&agent=edge-2"} {
		var all []wire.Event
		next := "0-0"
		for {
			list := b.events(t, b.scraper, query+"&after="+next)
			all = append(all, list.Events...)
			if next = list.Next; len(list.Events) == 0 {
				break
			}
		}
		if n := len(all); n != 1200 && n != 400 || !slices.IsSortedFunc(all, func(a, b wire.Event) int { return a.ID.Compare(b.ID) }) {
			t.Errorf("%s: %d", query, n)
		}
		if last := b.events(t, b.scraper, "?limit=1").Next; next != last {
			t.Errorf("%s ends at %s, not %s", query, next, last)
		}
	}
	if list := b.events(t, b.scraper, "?after=1-1&limit=1"); !list.Missed || list.numbers() != "0" {
		t.Errorf("after one that is not there: %+v", list)
	}
}

// Nobody sees what is another tenant's, or of agents that it may not scrape.
func TestEventsAreTheCallersOwn(t *testing.T) {
	b := newBench(t)
	for i, of := range []wire.AgentKey{{Tenant: "default", Agent: "edge-1"}, {Tenant: "blue", Agent: "core-1"}, {Tenant: "blue", Agent: "edge-1"}, {Tenant: "red", Agent: "edge-1"}} {
		b.journal.happen(of.Tenant, of.Agent, wire.EventLinked, i)
	}
	for token, want := range map[string]string{b.scraper: "0", b.narrow: "2"} {
		for _, query := range []string{"", "?after=0-0", "?agent=*", "?agent=core-1&agent=edge-1"} {
			if got := b.events(t, token, query).numbers(); got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
	}
	for token, want := range map[string]string{b.agent: "403 forbidden", b.expired: "401 unauthorized", "": "401 unauthorized"} {
		for _, accept := range []string{"application/json", "text/event-stream"} {
			o := b.send(t, "GET /api/v1/events HTTP/1.1\nHost: x\nAccept: "+accept+"\nAuthorization: Bearer "+token+"\n\n")
			if got := fmt.Sprint(o.StatusCode, " ", o.reason()); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}

func TestARequestForEventsSaysWhatIsWrong(t *testing.T) {
	b := newBench(t)
	for _, query := range []string{"after=", "after=x", "after=1", "limit=0", "limit=1001", "limit=x", "agent=%5B", "kind=", "kind=other", "agents=a", "%zz", "after=1-1&after=x"} {
		b.get(t, "/api/v1/events?"+query).want(t, 400, "bad_request")
	}
	stream := "Accept: text/html, text/event-stream;q=0.9\n"
	request := "GET /api/v1/events%s HTTP/1.1\nHost: x\nAuthorization: Bearer " + b.scraper + "\n" + stream + "%s\n"
	b.send(t, fmt.Sprintf(request, "?limit=1", "")).want(t, 400, "bad_request")
	b.send(t, fmt.Sprintf(request, "", "Last-Event-ID: x\n")).want(t, 400, "bad_request")
	b.send(t, "POST /api/v1/events HTTP/1.1\nHost: x\n\n").want(t, 405, "method")
	b.journal.away.Store(true)
	o := b.get(t, "/api/v1/events")
	o.want(t, 503, "bus_unavailable")
	b.get(t, "/api/v1/events?after=0-0").want(t, 503, "bus_unavailable")
}
