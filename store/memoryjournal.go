package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// maxMemoryJournal bounds the events in all journals that Memory keeps: about 20 MiB.
// The longest of them gives up its oldest.
const maxMemoryJournal = 4 * journalEvents

// memoryJournals are the journals of tenants without Redis. They end with the process.
type memoryJournals struct {
	metrics journalMetrics

	mu      sync.Mutex // guards what follows
	tenants map[string][]wire.Event
	events  int // in all of them
	last    wire.EventID
}

// Record puts an event into its tenant's journal; see [Redis.Record].
func (m *Memory) Record(e wire.Event) {
	j := &m.journals
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = j.last.Next(uint64(time.Now().UnixMilli()))
	e.ID, e.Time = j.last, e.Time.UTC().Truncate(time.Millisecond)
	if j.tenants == nil {
		j.tenants = make(map[string][]wire.Event)
	}
	events := append(j.tenants[e.Tenant], e)
	j.tenants[e.Tenant] = events
	j.events++
	j.metrics.written.Inc()
	if len(events) > journalEvents+journalEvents/16 { // not one with each that comes
		j.dropLocked(e.Tenant, len(events)-journalEvents)
	}
	if j.events > maxMemoryJournal {
		longest := j.longestLocked()
		j.dropLocked(longest, (len(j.tenants[longest])+15)/16)
	}
}

func (j *memoryJournals) longestLocked() (tenant string) {
	for name, events := range j.tenants {
		if len(events) > len(j.tenants[tenant]) {
			tenant = name
		}
	}
	return tenant
}

// dropLocked drops a tenant's oldest events.
func (j *memoryJournals) dropLocked(tenant string, n int) {
	j.events -= n
	if left := slices.Delete(j.tenants[tenant], 0, n); len(left) > 0 {
		j.tenants[tenant] = left
	} else {
		delete(j.tenants, tenant)
	}
}

// expire drops what has been kept for long enough.
func (j *memoryJournals) expire(now time.Time) {
	oldest := wire.EventID{Millis: uint64(now.Add(-journalKept).UnixMilli())}
	j.mu.Lock()
	defer j.mu.Unlock()
	for tenant, events := range j.tenants {
		if n, _ := find(events, oldest); n > 0 {
			j.dropLocked(tenant, n)
		}
	}
}

// find is where the event of that ID stands, or would.
func find(events []wire.Event, id wire.EventID) (at int, there bool) {
	return slices.BinarySearchFunc(events, id, func(e wire.Event, id wire.EventID) int { return e.ID.Compare(id) })
}

// EventsAfter reads events; see [Redis.EventsAfter].
func (m *Memory) EventsAfter(_ context.Context, tenant string, after wire.EventID, most int) (wire.EventPage, error) {
	j := &m.journals
	j.mu.Lock()
	defer j.mu.Unlock()
	events := j.tenants[tenant]
	at, there := find(events, after)
	gap := !there && !after.IsZero()
	if there {
		at++
	} else {
		at, after = 0, wire.EventID{}
	}
	part := events[at:min(at+most, len(events))]
	page := wire.EventPage{Events: slices.Clone(part), End: after, More: len(part) == most, Gap: gap}
	if len(part) > 0 {
		page.End = part[len(part)-1].ID
	}
	return page, nil
}

// EventsBefore reads events; see [Redis.EventsBefore].
func (m *Memory) EventsBefore(_ context.Context, tenant string, before wire.EventID, most int) (wire.EventPage, error) {
	j := &m.journals
	j.mu.Lock()
	defer j.mu.Unlock()
	events := j.tenants[tenant]
	if !before.IsZero() {
		at, _ := find(events, before)
		events = events[:at]
	}
	part := events[max(len(events)-most, 0):]
	page := wire.EventPage{Events: slices.Clone(part), End: before, More: len(part) == most}
	if len(part) > 0 {
		page.End = part[0].ID
	}
	return page, nil
}
