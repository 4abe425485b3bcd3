package edge

import (
	"context"

	"net/http"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// What bounds the events that are read of journals here: by all at once, by one token,
// and when half of it may be read again. A token may have each of its streams read a
// whole journal, and 1,850 events in a second; all together 4,600.
const (
	maxEventReads  = 200_000
	eventReadsEach = streamsEach * 10_000
	eventReadsHalf = 30 * time.Second
	// leastEventRead is what a read counts for if it finds less: it is a command.
	leastEventRead = 10
)

// eventReads reads journals for those who ask, each its share: who goes on from the
// oldest event again and again has it all read each time.
type eventReads struct {
	journal journal
	room    *share.Pool

	mu       sync.Mutex // guards what follows
	forgiven time.Time
}

func newEventReads(j journal) *eventReads {
	return &eventReads{journal: j, room: share.New(maxEventReads, eventReadsEach), forgiven: time.Now()}
}

// readerOf is whose share of streams and reads a request takes: its token's, or its
// address's where nobody needs a token.
func (e *Edge) readerOf(r *http.Request, who caller) share.Member {
	name := who.shown.id
	if name == "" {
		name = hostOf(e.client(r))
	}
	return share.Member{Tenant: who.tenant, Name: name}
}

// errReadEnough is what a reader is told that has had its share for now.
var errReadEnough = wire.Errorf(wire.Overloaded, "this token, or its tenant, has read as many events as it may for now: go on from the last, and not from the first")

// after is the journal's EventsAfter, of the reader's tenant.
func (e *eventReads) after(ctx context.Context, reader share.Member, after wire.EventID, most int) (wire.EventPage, error) {
	return e.read(reader, most, func() (wire.EventPage, error) { return e.journal.EventsAfter(ctx, reader.Tenant, after, most) })
}

// before is the journal's EventsBefore.
func (e *eventReads) before(ctx context.Context, reader share.Member, before wire.EventID, most int) (wire.EventPage, error) {
	return e.read(reader, most, func() (wire.EventPage, error) { return e.journal.EventsBefore(ctx, reader.Tenant, before, most) })
}

// read reads up to so many events, if the reader may read as many, and counts those
// that there were.
func (e *eventReads) read(reader share.Member, most int, page func() (wire.EventPage, error)) (wire.EventPage, error) {
	e.forgive()
	if !e.room.Take(reader, float64(most)) {
		return wire.EventPage{}, errReadEnough
	}
	p, err := page()
	e.room.Give(reader, float64(most-min(most, max(len(p.Events), leastEventRead))))
	return p, err
}

// forgive lets be read again what may be by now.
func (e *eventReads) forgive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if since := time.Since(e.forgiven); since >= time.Second {
		e.forgiven = e.forgiven.Add(since)
		e.room.Forgive(since, eventReadsHalf)
	}
}
