package store

import (
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A task is one entry's step, as it was when its pipeline began. Meanwhile the
// entry may have got another step to do, or be held no longer.
type task struct {
	held  *held
	entry wire.Entry
	told  bool // the entry's epoch is the directory's word, not a claim
	step  step
	cause string
	call  call

	claims   claims           // of a hold
	claimed  claims           // that the directory was told before; nil: not known
	ended    []leaseID        // of a hold: that were in its way
	before   *wire.TargetList // that the directory has
	named    []wire.ListHash  // that may name the agent for the link, the one to be written last
	detailed bool             // the directory has the entry, but for its list
	inlined  bool             // the list stands, or is to stand, in the record itself
	size     size             // of the targets; of an audit, of all lists of the agent's links
	asks     bool             // there may be no room for it
	dropped  string           // lists that the record does not name any more, as a script says it
}

// next takes the first task off the queue.
func (l *entries) next() (task, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		link := l.queue[0]
		l.queue = l.queue[1:]
		h := l.held[link]
		if h == nil || !h.queued {
			continue
		}
		h.queued = false
		if h.step == stepNone {
			continue
		}
		t := task{held: h, entry: h.entry, told: h.told != 0, step: h.step, cause: h.cause, claims: h.claims, claimed: h.claimed, ended: h.ended, size: h.counted, before: h.written, inlined: h.inlined, detailed: h.detailed, named: h.named}
		if h.step != stepRelease {
			h.step = stepNone
		}
		h.sent = true
		return t, true
	}
	return task{}, false
}

// current is the task's entry, if it is held still. l.mu is held.
func (l *entries) current(t *task) *held {
	if h := l.held[t.entry.Link]; h == t.held {
		return h
	}
	return nil
}

// failed notes that the step is still to be done: nobody knows whether it was.
func (l *entries) failed(t *task, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.current(t); h != nil {
		h.claimed, h.detailed = nil, false
		l.push(h, t.step)
		l.answer(h, outcome{err: err})
	}
}

// again takes an entry that is not in the directory, or not any longer, or that a link
// on a lease that has ended was in the way of.
func (l *entries) again(t *task, ended ...leaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.current(t); h != nil {
		h.ended = append(h.ended[:len(h.ended):len(h.ended)], ended...)
		l.anew(h)
	}
}

// naming notes that a list is about to name an agent for a task's link.
func (l *entries) naming(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hash := t.entry.List.Hash()
	others := slices.DeleteFunc(slices.Clone(t.named), func(h wire.ListHash) bool { return h == hash })
	t.named = append(others[max(len(others)-maxNamed+1, 0):], hash)
	if h := l.current(t); h != nil {
		h.named = t.named
	}
}

// mayName reports whether a list is one of those that may name an agent for a link.
func (l *entries) mayName(key wire.AgentKey, hash wire.ListHash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		if h.entry.AgentKey == key && (slices.Contains(h.named, hash) || h.entry.List != nil && h.entry.List.Hash() == hash) {
			return true
		}
	}
	return false
}

// maxNamed bounds the lists that may name an agent for a link: as many of its lists may
// be written before one answer comes.
const maxNamed = 16

// found notes that a link is where it should be.
func (l *entries) found(t *task, taken size) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.current(t); h != nil {
		h.seen, h.counted = time.Now(), taken
	}
}

// holding notes that the directory has the entry. It reports whether the owner
// is to be told: its Register did not wait for the answer, or the epoch is
// another.
func (l *entries) holding(t *task, epoch uint64, taken size) (tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.current(t)
	if h == nil {
		return false
	}
	h.entry.Epoch, h.seen, h.ended = epoch, time.Now(), nil
	h.written, h.inlined, h.counted = t.entry.List, t.inlined, taken
	h.detailed = !t.inlined && h.entry.TokenExpiry.Equal(t.entry.TokenExpiry) // else what is queued has more to say
	if h.named = nil; !t.inlined {
		h.named = t.named[len(t.named)-1:]
	}
	tell = h.wait == nil && h.told != epoch && h.step != stepRelease
	h.told = epoch
	l.answer(h, outcome{epoch: epoch})
	return tell
}

// claimed notes how old the directory says the entry's claims are: it may know
// of older ones, and the next one may be emptied.
func (l *entries) claimed(t *task, known claims) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.current(t); h != nil {
		h.claim(h.claims.noYounger(known))
		h.claimed = t.claims
	}
}

// refused drops the entry, and reports whether the owner is to be told.
func (l *entries) refused(t *task, why error) (tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.current(t)
	if h == nil {
		return false
	}
	tell = h.wait == nil && h.step != stepRelease
	l.answer(h, outcome{err: why})
	l.forget(t.entry.Link)
	return tell
}

// refusedMore takes back targets that there is no room for, or drops the entry if
// it is new. It reports whether the owner is to be told.
func (l *entries) refusedMore(t *task, why error) (tell bool) {
	if !t.told {
		return l.refused(t, why)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.current(t)
	if h == nil || h.step >= stepHold || h.entry.List != t.entry.List {
		return false // there is another by now, or there is nothing more to say
	}
	h.entry.List = h.written
	h.claim(h.claims.declare(h.written.All(), false, time.Now()))
	l.push(h, stepHold) // there may be more to write than the targets
	return true
}

// done drops an entry that is released.
func (l *entries) done(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current(t) != nil {
		l.forget(t.entry.Link)
	}
}

func (l *entries) setAway(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}
