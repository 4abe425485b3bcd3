package store

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// Update changes the targets of a link's entry.
func (s *Redis) Update(link wire.LinkID, list *wire.TargetList) {
	for done := false; !done; {
		before, edition := s.entries.claimsOf(link)
		claims := before.declare(list.All(), false, time.Now()) // takes its time, for which nobody else shall wait
		done = s.entries.change(link, list, claims, edition, s.timing.relist)
	}
}

// Renewed changes when the token of a link's agent ends; zero: never.
func (s *Redis) Renewed(link wire.LinkID, expires time.Time) {
	l := &s.entries
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[link]
	if h == nil || h.step == stepRelease || h.entry.TokenExpiry.Equal(expires) {
		return
	}
	h.entry.TokenExpiry, h.detailed = expires, false
	l.push(h, stepHold)
}

// claimsOf are the claims of a link's entry, and their edition.
func (l *entries) claimsOf(link wire.LinkID) (c claims, edition int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.held[link]; h != nil {
		c, edition = h.claims, h.edition
	}
	return c, edition
}

// change changes the list of a link's entry, if it is held, and the claims that were of
// that edition. If they are of another by now, it has done nothing.
func (l *entries) change(link wire.LinkID, list *wire.TargetList, c claims, of int, relist time.Duration) (done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[link]
	if h == nil || h.step == stepRelease {
		return true
	}
	if h.edition != of {
		return false
	}
	h.entry.List = list
	h.claim(c)
	now := time.Now()
	if now.Sub(h.listed) < relist {
		l.late[link] = true
		return true
	}
	h.listed = now
	l.push(h, stepHold)
	return true
}

// relist queues the links whose lists have waited for so long.
func (l *entries) relist(now time.Time, every time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for link := range l.late {
		h := l.held[link]
		switch {
		case h == nil || h.step >= stepHold:
		case now.Sub(h.listed) < every:
			continue
		default:
			h.listed = now
			l.push(h, stepHold)
		}
		delete(l.late, link)
	}
}
