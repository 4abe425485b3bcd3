package store

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// A Pace is the periods that tests shorten. Those that are 0 stay as they are.
type Pace struct {
	Lease, Audit, Renew, Look, Rejoin, Refresh, Standstill, Registering, Listed, Settle, Whole time.Duration
	Forget, Stale, Retire, KeepList, TakeBack, Relist, Unnamed                                 time.Duration
}

// SetPace is to be called before Run.
func (s *Redis) SetPace(p Pace) {
	t := &s.timing
	for _, d := range []struct {
		to *time.Duration
		is time.Duration
	}{
		{&t.lease, p.Lease}, {&t.audit, p.Audit}, {&t.renew, p.Renew}, {&t.look, p.Look}, {&t.rejoin, p.Rejoin}, {&t.refresh, p.Refresh},
		{&t.standstill, p.Standstill}, {&t.listed, p.Listed}, {&t.settle, p.Settle}, {&t.whole, p.Whole}, {&t.registering, p.Registering},
		{&t.forget, p.Forget}, {&t.stale, p.Stale}, {&t.retire, p.Retire}, {&t.keepList, p.KeepList}, {&t.takeBack, p.TakeBack}, {&t.relist, p.Relist}, {&t.unnamed, p.Unnamed},
	} {
		if d.is != 0 {
			*d.to = d.is
		}
	}
}

// Remember bounds what is remembered of the directory: agents in whole listings,
// what those take, and what target lists take that are kept decoded, in bytes. It
// is to be called before Run.
func (s *Redis) Remember(agents, listings, targetLists int) {
	s.listings.mostAgents, s.listings.mostBytes, s.lists.most = agents, listings, targetLists
}

// LeaseID is the ID of its lease.
func (s *Redis) LeaseID() int64 { return int64(s.lease.current()) }

// MayWait bounds the releases that wait for Redis. It is to be called before Run.
func (s *Redis) MayWait(releases int) { s.entries.mostReleased = releases }

// UseDirectory puts the directory on another Redis than the bus. It is to be called
// before Run.
func (s *Redis) UseDirectory(client redis.UniversalClient) {
	_ = s.clients.directory.Close()
	s.clients.directory = client
}
