package store

import (
	"slices"
	"sync"
	"time"
)

// health is what is known of Redis itself: whether it answers, and whether it is
// the same as before.
type health struct {
	lacking chan struct{} // capacity 1: Redis may lack what it had

	mu          sync.Mutex
	generations []string // last seen, "" before; on a Cluster several, to be on all of its nodes
	runIDs      []string // that were seen, in the order of when last
	infoDenied  bool     // an ACL forbids INFO
	infoTold    bool     // and that was said
	looks       uint64   // begun
	noted       uint64   // the youngest of them that is noted
	away        bool     // Redis did not answer last time
	known       bool     // it has answered once
	told        lastDenial
	born        time.Time // when what Redis holds was begun, if it was emptied
	certain     time.Time // from then on what is not in the directory does not exist
	disturbed   time.Time // when it was last found emptied, replaced or back
}

// clusterGenerations is how many generation keys a Cluster gets. Their slots
// are spread by a hash, so that each of three nodes has one with a probability
// of 99.5 %, and a node that lost everything is noticed.
const clusterGenerations = 16

func (h *health) init(cluster bool) {
	n := 1
	if cluster {
		n = clusterGenerations
	}
	h.lacking = make(chan struct{}, 1)
	h.generations = make([]string, n)
	h.away = true
}

// maxRunIDs bounds the servers that are remembered: twice the nodes of the largest
// Cluster that Redis's makers advise.
const maxRunIDs = 2000

// news is what a sighting has changed.
type news struct {
	back, away, emptied, replaced bool
}

// begin numbers a look.
func (h *health) begin() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	return h.looks
}

// note compares what was seen with what was before, unless a younger look was
// faster.
func (h *health) note(seen sighting, timing timing) (n news) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if seen.number < h.noted {
		return n
	}
	h.noted = seen.number
	h.infoDenied = h.infoDenied || seen.infoDenied
	if !seen.answered {
		n.away = !h.away || !h.known
		h.away, h.known = true, true
		return n
	}
	again := h.known
	n.back = h.away
	h.away, h.known = false, true
	for i, generation := range seen.generations {
		if generation == "" {
			continue // that part of a Cluster is away
		}
		n.emptied = n.emptied || h.generations[i] != "" && h.generations[i] != generation
		h.generations[i] = generation
	}
	h.born = now.Add(-seen.age)
	if len(seen.runIDs) > 0 {
		isNew := func(id string) bool { return !slices.Contains(h.runIDs, id) }
		n.replaced = len(h.runIDs) > 0 && slices.ContainsFunc(seen.runIDs, isNew)
		gone := slices.DeleteFunc(h.runIDs, func(id string) bool { return slices.Contains(seen.runIDs, id) })
		h.runIDs = append(gone, seen.runIDs...)
		h.runIDs = h.runIDs[max(len(h.runIDs)-maxRunIDs, 0):]
	}
	if n.emptied || n.replaced || n.back && again {
		h.disturbed = now
	}
	if left := timing.grace - seen.age; left > 0 {
		h.uncertainTo(now.Add(left))
	}
	if n.back && again || n.replaced || seen.err != nil {
		h.uncertainTo(now.Add(timing.rejoin))
	}
	return n
}

// denied says what of err is Redis's own word, and whether that is news.
func (h *health) denied(err error, prefix string) (d denial, isNew bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told.news(err, prefix)
}

func (h *health) uncertainTo(t time.Time) {
	if t.After(h.certain) {
		h.certain = t
	}
}

// disturb notes that not everything may be as it was.
func (h *health) disturb() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disturbed = time.Now()
}

// settled reports whether Redis was not emptied for so long.
func (h *health) settled(d time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.away && time.Since(h.born) > d
}

// isAway reports whether Redis did not answer when last looked at.
func (h *health) isAway() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.away
}

// uncertainFor is for how long from now on what is not in the directory may exist.
func (h *health) uncertainFor() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(time.Until(h.certain), 0)
}

// uncertain is nil, or says for how long what is not in the directory may exist.
func (h *health) uncertain() error {
	if left := h.uncertainFor(); left > 0 {
		return stillUncertain(left)
	}
	return nil
}

// sinceDisturbed is how long ago Redis was last found emptied, replaced or back;
// long, if never.
func (h *health) sinceDisturbed() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.disturbed)
}

func (h *health) lastDisturbed() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.disturbed
}

// tellInfo reports whether it is still to be said that INFO is forbidden, and has
// been.
func (h *health) tellInfo() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.infoTold
	h.infoTold = true
	return !told
}

func (h *health) deniesInfo() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.infoDenied
}
