package route

import (
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// noticeAfter is how soon after a link has declared addresses it is looked
	// whether another agent's claims stand before them: several links of a tenant
	// that come together take one listing.
	noticeAfter = 3 * time.Second
	// noticeAgain is how soon it is looked again whether a claim that did not
	// stand does now.
	noticeAgain = time.Minute
)

// notices remember which tenants are to be listed for their links' sake: some
// have declared addresses, or have some that were refused. The zero value is
// empty.
type notices struct {
	mu  sync.Mutex
	due map[string]time.Time // by tenant
}

// declared notes that a link's targets have been taken.
func (n *notices) declared(tenant string, targets []wire.Target, now time.Time) {
	if !slices.ContainsFunc(targets, func(t wire.Target) bool { return t.Address != "" }) {
		return
	}
	n.at(tenant, now.Add(noticeAfter))
}

// at notes when to list a tenant, if not earlier.
func (n *notices) at(tenant string, due time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.due == nil {
		n.due = make(map[string]time.Time)
	}
	if noted, ok := n.due[tenant]; !ok || due.Before(noted) {
		n.due[tenant] = due
	}
}

// take removes and returns the tenants that are due.
func (n *notices) take(now time.Time) (tenants []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for tenant, due := range n.due {
		if !now.Before(due) {
			tenants = append(tenants, tenant)
			delete(n.due, tenant)
		}
	}
	return tenants
}

// lookForRefusals lists the tenants that are due, upon which their links are told.
func (r *Router) lookForRefusals(now time.Time) {
	for _, tenant := range r.notices.take(now) {
		r.Go(func() { r.refresh(tenant) })
	}
}

// notice tells the links held here which of their addresses a listing shows to be
// another's, where that has changed. Of a replica's links those of other tenants, who
// may be thousands, are not looked at.
func (r *Router) notice(l *wire.Listing) {
	for i := range l.Agents {
		k := l.Agents[i].AgentKey
		held := r.Links.Of(k)
		if len(held) == 0 {
			continue
		}
		n := l.Book().Refused(k.Agent, r.OwnHosts)
		if len(n.Refused) > 0 {
			r.notices.at(k.Tenant, time.Now().Add(noticeAgain))
		}
		for _, one := range held {
			one.Notice(n)
		}
	}
}
