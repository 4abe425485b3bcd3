package store

import (
	"context"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A roster is who the living replicas were when last counted.
type roster struct {
	counted chan struct{} // closed once they have been
	first   sync.Once     // closes it

	mu           sync.Mutex
	living       living
	counts       uint64                    // how often
	others       map[wire.ReplicaID]*other // who was alive then, or may still be
	inlineUntil  time.Time                 // until when target lists stand in their entries
	allSeal      time.Time                 // since when all of them say that they seal; zero: not all do
	numsubDenied bool                      // an ACL forbids to ask who listens
	told         lastDenial
}

// An other is what is known of another replica.
type other struct {
	alive      uint64 // the last count in which it was
	counted    int    // in how many it was
	leases     bool   // it says that its links stand on a lease of its own
	lists      bool   // it says that it finds lists under their hashes
	dead, deaf int    // for how many looks in a row it was not alive, or nobody listened to its inbox
	about      about
	seals      time.Time // since when it says that it does; zero: not at all
	mismatch   string    // the keys of its and ours that do not fit, as they were told
}

func (r *roster) init() {
	r.counted = make(chan struct{})
	r.others = make(map[wire.ReplicaID]*other)
}

// The living are the replicas that hold a lease on life.
type living struct {
	number   uint64                   // of the count
	replicas []wire.ReplicaID         // this one with them
	links    int                      // that they hold
	about    map[wire.ReplicaID]about // what they say of themselves
}

// countReplicas renews this replica among the living and counts them, with each
// look at Redis: one that is told to stop a second after its successor came must know
// that it is not alone, or it would cut its links.
func (s *Redis) countReplicas(ctx context.Context, events wire.StoreEvents) {
	now, err := s.renew(ctx)
	s.noteWrite(ctx, writeReplica, err)
	if _, isNew := s.roster.denied(err, s.config.Prefix); isNew && !deniesWrites(err) {
		s.log.Warn("redis refuses the list of replicas", s.attrs(err)...)
	}
	if denied(err, "").code != "" && deniesWrites(err) {
		s.roster.first.Do(func() { close(s.roster.counted) }) // who comes cannot be counted, and is not waited for
	}
	if err != nil {
		return // the last count stands
	}
	gone := s.roster.note(s.config.Replica, now, s.steady(), s.timing.takeBack)
	s.warnOfKeys()
	s.countSharded()
	s.missGone(ctx, gone, events)
}

// steady reports whether who is not counted is gone: Redis says nothing of that while
// it has only just come back, or was emptied.
func (s *Redis) steady() bool { return s.health.sinceDisturbed() > s.timing.rejoin }

// recount counts the replicas between two looks: somebody has spoken who was not
// there at the last, or there is a link of whose lease nothing is known.
func (s *Redis) recount(ctx context.Context) error {
	now, err := s.renew(ctx)
	if err != nil {
		return err
	}
	s.roster.note(s.config.Replica, now, false, s.timing.takeBack)
	return nil
}

// note takes a count, and returns who has gone since; nobody, while that is not
// steady.
func (r *roster) note(self wire.ReplicaID, now living, steady bool, takeBack time.Duration) (gone []wire.ReplicaID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first.Do(func() { close(r.counted) })
	r.living = now
	r.counts++
	for _, id := range now.replicas {
		if id == self {
			continue
		}
		o := r.others[id]
		if o == nil {
			o = new(other)
			r.others[id] = o
		}
		o.alive, o.dead = r.counts, 0
		o.counted++
		if about, said := now.about[id]; said {
			o.leases, o.lists = about.Lease.isLease(), about.Lists
			o.says(about)
		}
	}
	r.noteInlines(time.Now(), takeBack)
	if steady {
		gone = r.noteAbsent()
	}
	r.noteSeals()
	return gone
}

// mixed reports whether a replica of an earlier version is alive, whose links have
// leases of their own. What a new one says of itself may be a count late.
func (r *roster) mixed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.others {
		if o.alive == r.counts && !o.leases && o.counted > 1 {
			return true
		}
	}
	return false
}

// toldLate is longer than what a replica says of itself may be old: it is said anew with
// each renewal of a lease.
const toldLate = Lease + 2*time.Second

// noteInlines notes for how long target lists stand in their entries: while a replica
// is alive that does not find them elsewhere, and then for so long, since it may come
// back. What others know of that is taken for a little shorter each time it is told, so
// that it ends. r.mu is held.
func (r *roster) noteInlines(now time.Time, takeBack time.Duration) {
	for _, o := range r.others {
		told := time.Duration(min(max(o.about.Inlines, 0), int64(takeBack.Seconds()))) * time.Second // whoever may write it may lie
		until := now.Add(told - toldLate)
		switch {
		case o.alive != r.counts:
			continue
		case !o.lists && o.counted > 1:
			until = now.Add(takeBack)
		}
		if until.After(r.inlineUntil) {
			r.inlineUntil = until
		}
	}
}

// inlines reports whether target lists stand in their entries, as they do before it is
// known who is there.
func (r *roster) inlines(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.knownLocked() || now.Before(r.inlineUntil)
}

// known reports whether it is known who is there, and what they say: that may be a count
// late.
func (r *roster) known() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.knownLocked()
}

func (r *roster) knownLocked() bool { return r.counts >= 2 }

// inlinesFor is for how many seconds they do so.
func (r *roster) inlinesFor(now time.Time) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(int64(r.inlineUntil.Sub(now).Seconds()), 0)
}

// denied says what of err is Redis's own word, and whether that is news.
func (r *roster) denied(err error, prefix string) (d denial, isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told.news(err, prefix)
}

// Replicas is how many replicas were alive when last counted, this one with
// them; 1 before that.
func (s *Redis) Replicas() int {
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	return max(len(s.roster.living.replicas), 1)
}

// Links is how many links those replicas held then.
func (s *Redis) Links() int {
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	return s.roster.living.links
}

// Alone reports whether Redis says, now, that no other replica is alive. A
// replica that cannot ask does not know, which is not being alone.
func (s *Redis) Alone(ctx context.Context) bool {
	now, err := s.renew(ctx)
	return err == nil && len(now.replicas) <= 1
}

// removeSelf takes this replica out of the living.
func (s *Redis) removeSelf() {
	if s.health.isAway() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.flush)
	defer cancel()
	for _, key := range []string{s.keys.about(), s.keys.replicas()} {
		_ = s.clients.directory.HDel(ctx, key, string(s.config.Replica)).Err() // else it expires
	}
}
