package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

const eventsPath = "/api/v1/events"

// A journal has what has happened to tenants' agents. An answer is a page from either
// end, or beyond an event; see [wire.EventPage].
type journal interface {
	EventsAfter(ctx context.Context, tenant string, after wire.EventID, most int) (wire.EventPage, error)
	EventsBefore(ctx context.Context, tenant string, before wire.EventID, most int) (wire.EventPage, error)
}

const (
	// listedEvents is how many events a list has if it is not told, and
	// maxListedEvents how many it may be told.
	listedEvents    = 100
	maxListedEvents = 1000
	// journalPage is how many events are read at a time.
	journalPage = 500
)

// An eventQuery is what a request for events asks for.
type eventQuery struct {
	after  wire.EventID
	goesOn bool // after was given
	limit  int  // 0: none was
	agents []string
	kinds  []string
}

// parseEventQuery reads the query of a request for events. As with discovery's, what
// it does not understand it refuses.
func parseEventQuery(query string) (q eventQuery, failure *wire.Error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, wire.Errorf(wire.BadRequest, "the query cannot be read")
	}
	for name, all := range values {
		switch name {
		case "after":
			failure = q.goOn(all[len(all)-1])
		case "limit":
			if q.limit, err = strconv.Atoi(all[len(all)-1]); err != nil || q.limit < 1 || q.limit > maxListedEvents {
				failure = wire.Errorf(wire.BadRequest, "limit must be 1 to %d", maxListedEvents)
			}
		case "agent":
			for _, pattern := range all {
				if _, err := path.Match(pattern, ""); err != nil {
					failure = wire.Errorf(wire.BadRequest, "agent is not a pattern")
				}
				q.agents = append(q.agents, lower(pattern))
			}
		case "kind":
			for _, kind := range all {
				if !slices.Contains(wire.EventKinds(), wire.EventKind(kind)) {
					failure = wire.Errorf(wire.BadRequest, "kind must be one of %v", wire.EventKinds())
				}
			}
			q.kinds = all
		default:
			failure = wire.Errorf(wire.BadRequest, "the query may have after, limit, agent and kind")
		}
		if failure != nil {
			return q, failure
		}
	}
	return q, nil
}

// goOn has the events begin after the one of that ID.
func (q *eventQuery) goOn(id string) *wire.Error {
	after, err := wire.ParseEventID(id)
	if err != nil {
		return wire.Errorf(wire.BadRequest, "an event's ID is as 1700000000000-0")
	}
	q.after, q.goesOn = after, true
	return nil
}

// takes reports whether an event is asked for, and for the caller to see.
func (q *eventQuery) takes(who caller, e *wire.Event) bool {
	return who.allows(e.Agent) && matchesOne(q.agents, e.Agent) && (len(q.kinds) == 0 || slices.Contains(q.kinds, string(e.Kind)))
}

// serveEvents tells what has happened to the caller's agents: a list of it, or what
// happens from now on to whoever accepts server-sent events.
func (e *Edge) serveEvents(w http.ResponseWriter, r *http.Request, who caller) *wire.Error {
	q, failure := parseEventQuery(r.URL.RawQuery)
	if failure != nil {
		return failure
	}
	if follows(r) {
		return e.streamEvents(w, r, who, q)
	}
	if q.limit == 0 {
		q.limit = listedEvents
	}
	return e.answerOnce(r, who, func(b *bytes.Buffer) error {
		read := e.recentEvents
		if q.goesOn {
			read = e.eventsAfter
		}
		list, err := read(r.Context(), e.readerOf(r, who), who, q)
		switch {
		case errors.Is(err, errReadEnough):
			return err
		case err != nil:
			return wire.Errorf(wire.BusUnavailable, "%v", err)
		}
		encoder := json.NewEncoder(b)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(list)
	}, func(a *answer) { sendJSON(w, r, a) })
}

// An eventList is a part of a journal, as /api/v1/events has it.
type eventList struct {
	Events []wire.Event `json:"events"`           // newest last
	Next   wire.EventID `json:"next"`             // the after of who wants to go on
	Missed bool         `json:"missed,omitempty"` // what came after the event to go on from may be lost in part
}

// eventsAfter reads on from an event.
func (e *Edge) eventsAfter(ctx context.Context, reader share.Member, who caller, q eventQuery) (eventList, error) {
	list := eventList{Events: []wire.Event{}, Next: q.after}
	for more := true; more; {
		page, err := e.reads.after(ctx, reader, list.Next, journalPage)
		if err != nil {
			return list, err
		}
		list.Missed = list.Missed || page.Gap
		for i := range page.Events {
			if !q.takes(who, &page.Events[i]) {
				continue
			}
			list.Events = append(list.Events, page.Events[i])
			if len(list.Events) == q.limit {
				list.Next = page.Events[i].ID
				return list, nil
			}
		}
		list.Next, more = page.End, page.More
	}
	return list, nil
}

// recentEvents reads back from the end.
func (e *Edge) recentEvents(ctx context.Context, reader share.Member, who caller, q eventQuery) (eventList, error) {
	list := eventList{Events: []wire.Event{}}
	var before wire.EventID
	for more := true; more && len(list.Events) < q.limit; {
		page, err := e.reads.before(ctx, reader, before, journalPage)
		if err != nil {
			return list, err
		}
		for _, event := range slices.Backward(page.Events) {
			if list.Next.IsZero() {
				list.Next = event.ID
			}
			if len(list.Events) < q.limit && q.takes(who, &event) {
				list.Events = append(list.Events, event)
			}
		}
		before, more = page.End, page.More
	}
	slices.Reverse(list.Events)
	return list, nil
}

// follows reports whether a request is for a stream of server-sent events.
func follows(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for kind := range strings.SplitSeq(accept, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			if strings.EqualFold(strings.TrimSpace(kind), "text/event-stream") {
				return true
			}
		}
	}
	return false
}
