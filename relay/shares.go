package relay

import (
	"math"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A member is one of those that something is shared among: an agent, a token, an
// address, within its tenant.
type member struct{ tenant, name string }

func agentMember(k wire.AgentKey) member { return member{k.Tenant, k.Agent} }

// shares divide what there is of something so that nobody can take it from
// everyone else: a member never holds more than is free then, and the members of
// one tenant together never more than twice that. So one alone has at most a
// half, one tenant two thirds, and the next to come always finds some. The
// thresholds are those of [creditPool], which lends part of what it is asked for;
// this grants all of it or nothing.
type shares struct {
	size float64
	each float64 // nor does a member ever hold more than this

	mu      sync.Mutex // guards what follows
	taken   float64
	members map[member]float64
	tenants map[string]float64
}

func newShares(size, each float64) *shares {
	return &shares{size: size, each: each, members: make(map[member]float64), tenants: make(map[string]float64)}
}

// take reports whether the member gets n.
func (s *shares) take(m member, n float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.size - s.taken
	if s.members[m]+n > min(s.each, free) || s.tenants[m.tenant]+n > 2*free {
		return false
	}
	s.addLocked(m, n)
	return true
}

// give takes n back, or what the member has, if that is less.
func (s *shares) give(m member, n float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.members[m]; held > 0 {
		s.addLocked(m, -min(n, held))
	}
}

func (s *shares) addLocked(m member, n float64) {
	s.members[m] += n
	s.tenants[m.tenant] += n
	s.taken += n
	if s.members[m] < leastShare {
		s.dropLocked(m)
	}
}

// leastShare is less than anybody takes at a time: what is left of a share after
// it is forgotten, and with it the tenant's, so that neither table outgrows what
// there is to share.
const leastShare = 0.1

func (s *shares) dropLocked(m member) {
	rest := s.members[m]
	delete(s.members, m)
	s.taken -= rest
	if s.tenants[m.tenant] -= rest; s.tenants[m.tenant] < leastShare {
		delete(s.tenants, m.tenant)
	}
}

// forgive lets everybody have less after that time: a half after half. It is for
// what is never given back.
func (s *shares) forgive(after, half time.Duration) {
	part := math.Exp2(-float64(after) / float64(half))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = 0
	clear(s.tenants)
	for m, held := range s.members {
		if held *= part; held < leastShare {
			delete(s.members, m)
			continue
		}
		s.members[m] = held
		s.tenants[m.tenant] += held
		s.taken += held
	}
}
