package edge

import (
	"context"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/flight"
	"github.com/farscrape/farscrape/relay/share"
	"github.com/farscrape/farscrape/relay/wire"
)

// What bounds the streams of events: all of them, those of one credential, and those
// of one tenant by two thirds of all.
const (
	maxStreams  = 256
	streamsEach = 8
)

// watches are the tenants whose journals streams follow here. Each is looked at once a
// second, for all streams together, and by nobody once the last has ended.
type watches struct {
	places  *share.Pool
	flights flight.Group[wire.EventID]

	mu      sync.Mutex // guards what follows
	tenants map[string]*watch
}

// A watch is what was last seen of a tenant's journal.
type watch struct {
	streams int
	looked  time.Time
	newest  wire.EventID
	err     error
}

func newWatches() *watches {
	return &watches{places: share.New(maxStreams, streamsEach), tenants: make(map[string]*watch)}
}

// enter gives a stream its place, until leave is called.
func (t *watches) enter(reader share.Member) (leave func(), failure *wire.Error) {
	if !t.places.Take(reader, 1) {
		return nil, wire.Errorf(wire.Overloaded, "too many streams of events: this token, or its tenant, has as many as it may")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.tenants[reader.Tenant]
	if w == nil {
		w = new(watch)
		t.tenants[reader.Tenant] = w
	}
	w.streams++
	return func() {
		t.places.Give(reader, 1)
		t.mu.Lock()
		defer t.mu.Unlock()
		if w.streams--; w.streams == 0 {
			delete(t.tenants, reader.Tenant)
		}
	}, nil
}

// count is how many streams there are.
func (t *watches) count() float64 { return t.places.Taken() }

// newest is the ID of a tenant's newest event, as of less than a look ago. The tenant
// has a stream.
func (t *watches) newest(ctx context.Context, j journal, tenant string) (wire.EventID, error) {
	t.mu.Lock()
	w := t.tenants[tenant]
	t.mu.Unlock()
	if newest, fresh, err := t.seen(w); fresh {
		return newest, err
	}
	return t.flights.Do(ctx, context.WithoutCancel(ctx), tenant, func(ctx context.Context) (wire.EventID, error) {
		if newest, fresh, err := t.seen(w); fresh { // another has landed meanwhile
			return newest, err
		}
		began := time.Now()
		page, err := j.EventsBefore(ctx, tenant, wire.EventID{}, 1)
		t.mu.Lock()
		defer t.mu.Unlock()
		w.looked, w.newest, w.err = began, page.End, err
		return page.End, err
	})
}

// seen is what the last look has found, and whether it will do.
func (t *watches) seen(w *watch) (newest wire.EventID, fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return w.newest, time.Since(w.looked) < streamLook*9/10, w.err
}
