// Package share divides what there is of something so that nobody can take it from
// everyone else.
//
// A member of a [Pool] never holds more than is free then, and the members of one
// tenant together never more than twice that: dynamic thresholds, as switches share
// their buffers. So one alone has at most a half, one tenant two thirds, the next to
// come always finds some, and nobody configures anything.
package share

import (
	"math"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A Member is one of those that something is shared among: an agent, a token, an
// address, within its tenant.
type Member struct{ Tenant, Name string }

// Of is the agent as a member.
func Of(k wire.AgentKey) Member { return Member{k.Tenant, k.Agent} }

// A Pool is what there is of something. It is counted in units of its user's, of
// which nobody takes less than a tenth at a time.
type Pool struct {
	size float64
	each float64

	mu      sync.Mutex // guards what follows
	taken   float64
	members map[Member]float64
	tenants map[string]float64
}

// New makes a pool. No member ever holds more than each.
func New(size, each float64) *Pool {
	return &Pool{size: size, each: each, members: make(map[Member]float64), tenants: make(map[string]float64)}
}

// Take takes n for the member, or nothing, and reports whether it did.
func (p *Pool) Take(m Member, n float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.roomLocked(m) {
		return false
	}
	p.addLocked(m, n)
	return true
}

// Lend takes up to n for the member, no more than an eighth of what is free, and
// returns how much: what one part of a member's work takes leaves some for the
// other.
func (p *Pool) Lend(m Member, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(n, int(min((p.size-p.taken)/8, p.roomLocked(m))))
	if n <= 0 {
		return 0
	}
	p.addLocked(m, float64(n))
	return n
}

// Give takes n back, or what the member has, if that is less.
func (p *Pool) Give(m Member, n float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held := p.members[m]; held > 0 && n > 0 {
		p.addLocked(m, -min(n, held))
	}
}

// Taken is how much is, by all.
func (p *Pool) Taken() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Free is how much is not taken.
func (p *Pool) Free() float64 { return p.size - p.Taken() }

// Forgive lets everybody hold less after that time: a half after half. It is for
// what is never given back.
func (p *Pool) Forgive(after, half time.Duration) {
	part := math.Exp2(-float64(after) / float64(half))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = 0
	clear(p.tenants)
	for m, held := range p.members {
		if held *= part; held < least {
			delete(p.members, m)
			continue
		}
		p.members[m] = held
		p.tenants[m.Tenant] += held
		p.taken += held
	}
}

// Members is how many hold anything.
func (p *Pool) Members() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.members)
}

// roomLocked is how much more the member may have.
func (p *Pool) roomLocked(m Member) float64 {
	free := p.size - p.taken
	return min(min(p.each, free)-p.members[m], 2*free-p.tenants[m.Tenant])
}

func (p *Pool) addLocked(m Member, n float64) {
	p.members[m] += n
	p.tenants[m.Tenant] += n
	p.taken += n
	if p.members[m] < least {
		p.dropLocked(m)
	}
}

// least is what is left of a share that is forgotten, and with it the tenant's, so
// that neither table outgrows what there is to share.
const least = 0.1

func (p *Pool) dropLocked(m Member) {
	rest := p.members[m]
	delete(p.members, m)
	p.taken -= rest
	if p.tenants[m.Tenant] -= rest; p.tenants[m.Tenant] < least {
		delete(p.tenants, m.Tenant)
	}
}
