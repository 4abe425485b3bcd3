package store

import (
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// What bounds a tenant's journal, in either store. An event takes some 220 bytes of
// Redis (BenchmarkEvents), and by its own bounds 1,300 at most: a journal 2.2 MB, and at
// most 13.
const (
	journalKept   = 24 * time.Hour // of each event
	journalEvents = 10_000
)

// maxJournalQueue bounds the events that wait to be written, of all tenants: about
// 10 MiB. A tenant has no more of it than is free: half, if it is alone.
const maxJournalQueue = 32 << 10

// A journal is what waits to be written into the tenants' journals.
type journal struct {
	kick    chan struct{} // capacity 1: something is queued
	metrics journalMetrics
	told    lastDenial // owned by the writer

	mu     sync.Mutex
	queues map[string][]wire.Event // by tenant, oldest first; never empty
	queued int                     // in all of them
}

func (j *journal) init(reg prometheus.Registerer) {
	j.kick = make(chan struct{}, 1)
	j.metrics = newJournalMetrics(reg)
	j.queues = make(map[string][]wire.Event)
}

// Record puts an event into its tenant's journal, soon. It never waits. While Redis is
// away the youngest are kept. One whose write was not answered is written again, and
// may stand there twice.
func (s *Redis) Record(e wire.Event) {
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.putLocked(e.Tenant, append(j.queues[e.Tenant], e), 1)
	kick(j.kick)
}

// putLocked makes events the tenant's queue, which has so many more than before, but
// for the oldest where they are too many.
func (j *journal) putLocked(tenant string, events []wire.Event, more int) {
	j.queued += more
	if over := len(events) - (maxJournalQueue - j.queued); over > 0 {
		drop := min(over+len(events)/16, len(events)) // not one with each that comes
		j.metrics.lost.Add(float64(drop))
		j.queued -= drop
		events = append([]wire.Event(nil), events[drop:]...)
	}
	if j.queues[tenant] = events; len(events) == 0 {
		delete(j.queues, tenant)
	}
}

// A journalPart is what is written of one tenant at a time.
type journalPart struct {
	tenant string
	events []wire.Event
}

// take takes up to journalCall events of each tenant off the queue, and batchCalls of
// them all.
func (j *journal) take() (parts []journalPart) {
	j.mu.Lock()
	defer j.mu.Unlock()
	taken := 0
	for tenant, events := range j.queues {
		n := min(len(events), journalCall)
		if taken += n; taken > batchCalls {
			break
		}
		parts = append(parts, journalPart{tenant, events[:n:n]})
		j.putLocked(tenant, events[n:], -n)
	}
	return parts
}

// putBack queues what was not written before what has come since.
func (j *journal) putBack(p journalPart) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.putLocked(p.tenant, append(p.events, j.queues[p.tenant]...), len(p.events))
}

// journalMetrics are of either store.
type journalMetrics struct{ written, lost prometheus.Counter }

func newJournalMetrics(reg prometheus.Registerer) journalMetrics {
	f := promauto.With(reg)
	return journalMetrics{
		written: f.NewCounter(prometheus.CounterOpts{
			Name: "farscrape_relay_events_written_total",
			Help: "Events that were written into tenants' journals.",
		}),
		lost: f.NewCounter(prometheus.CounterOpts{
			Name: "farscrape_relay_events_lost_total",
			Help: "Events that were not: Redis refuses them, or was away until too many waited.",
		}),
	}
}
