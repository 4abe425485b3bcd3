package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// A leaseID is the ID of a replica's lease, on which all of its links stand. It is
// drawn, and never again after the lease has ended. In a record it has the place of
// a time in ms, and is later than any: so replicas of an earlier version take such
// links for live.
type leaseID int64

const (
	minLease = leaseID(1) << 52
	maxLease = leaseID(1) << 53 // the scripts' numbers are exact below it
)

func newLease() leaseID { return minLease + leaseID(rand.Int64N(int64(maxLease-minLease))) }

// isLease reports whether what a record says is a lease, and not a time.
func (l leaseID) isLease() bool { return l >= minLease && l < maxLease }

// An ownLease is what this replica knows of its own lease.
type ownLease struct {
	mu      sync.Mutex
	id      leaseID
	former  leaseID   // was renounced, and not all links stand on id yet; 0: they do
	queued  bool      // all of them are to be written on id
	held    bool      // Redis has it
	since   time.Time // when the first of the calls began that have renewed it without a break
	renewed time.Time // when the last of them did
}

func (l *ownLease) current() leaseID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

// claim is what a call says of the lease: which it is and was, whether Redis has it, and
// for how long it was renewed without a break.
func (l *ownLease) claim() (id, former leaseID, held bool, unbroken time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held {
		return l.id, l.former, false, 0
	}
	return l.id, l.former, true, l.renewed.Sub(l.since)
}

// took notes that Redis has the lease, as of a call that began then.
func (l *ownLease) took(id leaseID, began time.Time, kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id != l.id {
		return
	}
	if !l.held || !kept {
		l.since = began
	}
	l.held = true
	if began.After(l.renewed) {
		l.renewed = began
	}
}

// lost draws another lease in the place of one that has ended, and reports whether
// nobody did so before.
func (l *ownLease) lost(id leaseID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id != l.id {
		return false
	}
	l.id, l.former, l.held = newLease(), 0, false
	return true
}

// renounce draws another lease in the place of one that stands until all links are
// registered on the new one.
func (l *ownLease) renounce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held {
		l.id, l.former, l.held, l.queued = newLease(), l.id, false, false
	}
}

// leave notes that all links are to be written on the new lease.
func (l *ownLease) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = true
}

// leaving is the former lease if no link stands on it once all that is queued is
// written, else 0. Left notes that this is so.
func (l *ownLease) leaving() leaseID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.queued {
		return 0
	}
	return l.former
}

func (l *ownLease) left(former leaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if former == l.former {
		l.former = 0
	}
}

// untaken notes that nobody knows whether Redis has taken the lease. It is not taken
// again: others may have seen it and dropped it by then.
func (l *ownLease) untaken(id leaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == l.id && !l.held {
		l.id = newLease()
	}
}

// standsFor reports whether the lease was renewed within that time.
func (l *ownLease) standsFor(d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held && time.Since(l.renewed) < d
}

// errLeaseLost: other replicas have seen the lease end.
var errLeaseLost = errors.New("the lease has ended")

// stand sees to it that this replica's lease stands: nobody would believe a link
// that was written on another one.
func (s *Redis) stand(ctx context.Context) error {
	if s.lease.standsFor(s.timing.lease) {
		return nil
	}
	err := s.recount(ctx)
	if s.lease.standsFor(s.timing.lease) {
		return nil
	}
	return err
}

// renounce takes another lease, and registers all links on that: Redis may have links
// again that were released, or displaced, since what it has was written, and nobody
// would take them out.
func (s *Redis) renounce() {
	s.lease.renounce()
	s.entries.rewrite()
	s.lease.leave()
}

// renew renews the lease, and returns who else holds one. One that has ended while
// this replica was stopped, or cut off, is not taken up again: others have seen its
// links end. Then all of them are written anew, on another.
func (s *Redis) renew(ctx context.Context) (living, error) {
	all, err := s.renewOnce(ctx)
	if !errors.Is(err, errLeaseLost) {
		return all, err
	}
	s.log.Warn("this replica's lease has ended: it was stopped, or cut off from redis, for longer; all links are registered anew", "lease", s.timing.lease)
	s.entries.rewrite()
	return s.renewOnce(ctx)
}

func (s *Redis) renewOnce(ctx context.Context) (all living, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	all.number = s.standing.begin()
	began := time.Now()
	id, former, held, unbroken := s.lease.claim()
	self, lasts := string(s.config.Replica), s.timing.lease.Milliseconds()
	answers := runCalls(ctx, s.clients.directory, []call{
		{script: s.scripts.alive, key: s.keys.replicas(), args: []any{self, lasts, s.entries.links()}},
		{script: s.scripts.about, key: s.keys.about(), args: []any{
			self, lasts, s.about(id, former), int64(id), held, unbroken.Milliseconds(), s.timing.rejoin.Milliseconds(),
		}},
	})
	switch kept, err := parseAbout(answers[1], &all); {
	case errors.Is(err, errLeaseLost) && !s.lease.lost(id):
		return s.renewOnce(ctx) // another call has found that out
	case errors.Is(err, errLeaseLost):
		return all, err
	case err != nil:
		s.lease.untaken(id)
		return all, err
	default:
		s.lease.took(id, began, kept)
	}
	s.standing.note(all, s.steady())
	return all, parseLiving(answers[0], &all)
}

// parseLiving reads alive.lua's reply.
func parseLiving(cmd *redis.Cmd, all *living) error {
	reply, err := cmd.Slice()
	if err != nil {
		return err
	}
	if len(reply) != 2 {
		return fmt.Errorf("replicas: %w", errReply)
	}
	links, _ := reply[0].(int64)
	names, _ := reply[1].([]any)
	all.links = int(links)
	for _, name := range names {
		if id, _ := name.(string); wire.ValidID(id) {
			all.replicas = append(all.replicas, wire.ReplicaID(id))
		}
	}
	return nil
}
