package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// streamLook is how often a stream looks whether anything has happened.
	streamLook = time.Second
	// streamBeat is after how much silence a stream sends a comment: whoever stands
	// between cuts what says nothing, nginx after 60 s.
	streamBeat = 15 * time.Second
	// streamWrite is how long a write may wait for its reader, who else is cut.
	streamWrite = 10 * time.Second
	// streamRetry is when a reader whose stream has ended is to come back.
	streamRetry = 2 * time.Second
	// streamPage is how many events a stream holds at a time, 130 KB at most.
	streamPage = 100
)

// An eventStream sends one reader what happens, as server-sent events: an ID and JSON
// each, and an event "reset" where some may be missing.
type eventStream struct {
	edge   *Edge
	w      http.ResponseWriter
	r      *http.Request
	who    caller
	reader share.Member
	q      eventQuery

	at     wire.EventID // the last that the reader has, or is not to have
	placed bool         // at is known
	away   bool         // and the reader knows: the journal
	spoke  time.Time
	out    bytes.Buffer
}

// streamEvents follows the journal until the reader goes, does not read, has no token
// that is good any more, or the replica drains.
func (e *Edge) streamEvents(w http.ResponseWriter, r *http.Request, who caller, q eventQuery) *wire.Error {
	if q.limit > 0 {
		return wire.Errorf(wire.BadRequest, "a stream of events has no limit")
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if failure := q.goOn(last); failure != nil {
			return failure
		}
	}
	reader := e.readerOf(r, who)
	leave, failure := e.watches.enter(reader)
	if failure != nil {
		return failure
	}
	defer leave()
	for name, value := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"X-Accel-Buffering": "no", // nginx would wait for more
	} {
		w.Header().Set(name, value)
	}
	s := &eventStream{edge: e, w: w, r: r, who: who, reader: reader, q: q, at: q.after, placed: q.goesOn}
	fmt.Fprintf(&s.out, "retry: %d\n\n", streamRetry.Milliseconds())
	s.run(r.Context())
	s.allowWrite() // of its end
	return nil
}

func (s *eventStream) run(ctx context.Context) {
	tick := time.NewTicker(streamLook)
	defer tick.Stop()
	for !s.over() && s.look(ctx) == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// over reports whether the stream is to end in order. A token is good for a time.
func (s *eventStream) over() bool {
	_, failure := s.edge.authenticate(s.r, tokensOf(s.r.Header, ownPage)...)
	return failure != nil || s.edge.Scraper.Draining()
}

// look sends what has happened since the last look. Its error is that of writing.
func (s *eventStream) look(ctx context.Context) error {
	newest, err := s.edge.watches.newest(ctx, s.edge.Journal, s.who.tenant)
	if err == nil && !s.placed {
		s.at, s.placed = newest, true
		fmt.Fprintf(&s.out, "id: %s\n\n", s.at) // of nothing: where to go on from
	}
	for more := err == nil && newest != s.at; more && !s.over(); {
		var page wire.EventPage
		if page, err = s.edge.reads.after(ctx, s.reader, s.at, streamPage); err != nil {
			break
		}
		s.put(page)
		s.at, more = page.End, page.More
		if err := s.flush(); err != nil {
			return err
		}
	}
	if errors.Is(err, errReadEnough) {
		err = nil // the next look goes on
	}
	s.tell(err)
	if s.out.Len() == 0 && time.Since(s.spoke) >= streamBeat {
		s.out.WriteString(":\n\n")
	}
	return s.flush()
}

// put puts down those events of a page that are for the reader.
func (s *eventStream) put(page wire.EventPage) {
	if page.Gap {
		s.out.WriteString("event: reset\ndata: {\"missed\":true}\n\n")
	}
	for i := range page.Events {
		e := &page.Events[i]
		if !s.q.takes(s.who, e) {
			continue
		}
		fmt.Fprintf(&s.out, "id: %s\ndata: ", e.ID)
		encoder := json.NewEncoder(&s.out) // ends the line, and leaves no other end of one in it
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(e) // a plain struct always marshals
		s.out.WriteByte('\n')
	}
}

// tell says, by comments, when the journal goes and comes back.
func (s *eventStream) tell(err error) {
	switch away := err != nil; {
	case away && !s.away:
		fmt.Fprintf(&s.out, ": %s: %s\n\n", wire.BusUnavailable, line(err.Error()))
	case s.away && !away:
		s.out.WriteString(": the journal is back\n\n")
	}
	s.away = err != nil
}

// flush sends what was put down.
func (s *eventStream) flush() error {
	if s.out.Len() == 0 {
		return nil
	}
	s.allowWrite()
	if _, err := s.w.Write(s.out.Bytes()); err != nil {
		return err
	}
	s.out.Reset()
	s.spoke = time.Now()
	return http.NewResponseController(s.w).Flush()
}

// allowWrite gives the reader its time anew. Not every ResponseWriter has a deadline.
func (s *eventStream) allowWrite() {
	_ = http.NewResponseController(s.w).SetWriteDeadline(time.Now().Add(streamWrite))
}
