package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A standing is which replicas' leases stand, as last counted: on a Cluster no
// script can read them beside an agent's record, so whoever reads a record says.
type standing struct {
	mu      sync.Mutex
	begun   uint64 // counts
	noted   uint64 // the youngest of them that is noted
	stands  map[leaseID]counted
	ended   map[leaseID]time.Time // since when; since it was last counted, as far as it was
	recent  []leaseID             // the last few that ended
	endings int                   // how often what stands has changed so
}

// counted is when a lease was last counted, and in how many counts since it was not.
type counted struct {
	at     time.Time
	missed int
}

// maxEnded bounds the leases whose end is remembered, and maxRecent those that each
// call has with it. Of others it is found out anew when they are met.
const (
	maxEnded  = 4096
	maxRecent = 16
)

func (s *standing) init() {
	s.stands = make(map[leaseID]counted)
	s.ended = make(map[leaseID]time.Time)
}

// begin numbers a count.
func (s *standing) begin() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	return s.begun
}

// note takes a count, unless a younger one was faster. Who is missing in two has lost its
// lease, if it is steady: counts may come in another order than Redis made them. Who was
// believed to have, and is counted, has not.
func (s *standing) note(all living, steady bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if all.number < s.noted {
		return
	}
	s.noted = all.number
	for _, about := range all.about {
		for _, id := range []leaseID{about.Lease, about.Former} {
			if !id.isLease() {
				continue
			}
			s.stands[id] = counted{at: now}
			if _, past := s.ended[id]; past {
				s.revive(id)
			}
		}
	}
	for id, c := range s.stands {
		if !steady || c.at == now {
			continue
		}
		c.missed++
		s.stands[id] = c
		if c.missed >= missedFor {
			delete(s.stands, id)
			s.end(id, c.at)
		}
	}
}

// revive notes that a lease has not ended after all. s.mu is held.
func (s *standing) revive(id leaseID) {
	delete(s.ended, id)
	s.recent = slices.DeleteFunc(slices.Clone(s.recent), func(other leaseID) bool { return other == id })
	s.endings++
}

// end notes that a lease has ended. s.mu is held.
func (s *standing) end(id leaseID, at time.Time) {
	if len(s.ended) >= maxEnded {
		for any := range s.ended {
			delete(s.ended, any)
			break
		}
	}
	s.ended[id] = at
	s.endings++
	if s.recent = append(s.recent, id); len(s.recent) > maxRecent {
		s.recent = slices.Clone(s.recent[1:])
	}
}

// A verdict is what is known of a lease.
type verdict uint8

const (
	unknown verdict = iota
	stands
	ended
)

// judge says whether a lease stands, and since when it does not. What nobody could
// count for so long is not believed for ever.
func (s *standing) judge(id leaseID, most time.Duration) (v verdict, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.stands[id]
	since, past := s.ended[id]
	switch {
	case past:
		return ended, since
	case known && time.Since(last.at) < most:
		return stands, since
	case known:
		return ended, last.at
	}
	return unknown, since
}

// doubt has the replicas counted for leases of which nothing is known. Each replica
// is counted before it writes a link: who is not in a count that was begun after the
// link was read has gone, unless Redis is not steady. If nobody can be counted, they
// stand.
func (s *Redis) doubt(ctx context.Context, leases []leaseID) {
	if s.recount(ctx) != nil || !s.steady() {
		return
	}
	at := &s.standing
	at.mu.Lock()
	defer at.mu.Unlock()
	for _, id := range leases {
		_, stands := at.stands[id]
		if _, past := at.ended[id]; !stands && !past {
			at.end(id, time.Now())
		}
	}
}

// judge says whether a lease stands, and since when it does not. This replica's own
// does.
func (s *Redis) judge(id leaseID) (verdict, time.Time) {
	if id == s.lease.current() {
		return stands, time.Time{}
	}
	return s.standing.judge(id, s.timing.standstill)
}

// endedOf returns those of the leases that have ended.
func (s *Redis) endedOf(ctx context.Context, leases []leaseID) (past []leaseID) {
	is := func(v verdict) func(leaseID) bool {
		return func(id leaseID) bool { is, _ := s.judge(id); return is == v }
	}
	if slices.ContainsFunc(leases, is(unknown)) {
		s.doubt(ctx, slices.DeleteFunc(slices.Clone(leases), func(id leaseID) bool { return !is(unknown)(id) }))
	}
	for _, id := range leases {
		if is(ended)(id) {
			past = append(past, id)
		}
	}
	return past
}

// endedLeases is what scripts are told: the leases that have ended lately, and others
// that are known to have.
func (s *Redis) endedLeases(others ...leaseID) string {
	s.standing.mu.Lock()
	all := slices.Concat(s.standing.recent, others)
	s.standing.mu.Unlock()
	var b strings.Builder
	for _, id := range all {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(int64(id), 10))
	}
	b.WriteByte(' ')
	return b.String()
}
