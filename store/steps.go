package store

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A task is one lease's step, as it was when its pipeline began. Meanwhile the
// lease may have got another step to do, or be held no longer.
type task struct {
	held  *held
	lease wire.Lease
	told  bool // the lease's epoch is the directory's word, not a claim
	step  step
	cause string
	call  call

	claims claims // of a hold
	size   size   // of the targets; of a renewal, of all lists of the agent's links
	before size   // of those that the directory has
	asks   bool   // there may be no room for it
}

// next takes the first task off the queue.
func (k *keeper) next() (task, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.queue) > 0 {
		link := k.queue[0]
		k.queue = k.queue[1:]
		h := k.held[link]
		if h == nil || !h.queued {
			continue
		}
		h.queued = false
		if h.step == stepNone {
			continue
		}
		t := task{held: h, lease: h.lease, told: h.told != 0, step: h.step, cause: h.cause, claims: h.claims, size: h.counted, before: h.size}
		if h.step != stepRelease {
			h.step = stepNone
		}
		h.sent = true
		return t, true
	}
	return task{}, false
}

// current is the task's lease, if it is held still. k.mu is held.
func (k *keeper) current(t *task) *held {
	if h := k.held[t.lease.Link]; h == t.held {
		return h
	}
	return nil
}

// failed notes that the step is still to be done: nobody knows whether it was.
func (k *keeper) failed(t *task, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.current(t); h != nil {
		k.push(h, t.step)
		k.answer(h, outcome{err: err})
	}
}

// again takes a lease that is not in the directory, or not any longer.
func (k *keeper) again(t *task) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.current(t); h != nil {
		k.push(h, stepHold)
	}
}

// renewed notes when to renew next.
func (k *keeper) renewed(t *task, taken size, due time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.current(t); h != nil {
		h.due, h.counted = due, taken
	}
}

// holding notes that the directory has the lease. It reports whether the owner
// is to be told: its Register did not wait for the answer, or the epoch is
// another.
func (k *keeper) holding(t *task, epoch uint64, taken size, due time.Time) (tell bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.current(t)
	if h == nil {
		return false
	}
	h.lease.Epoch, h.due = epoch, due
	h.written, h.size, h.counted = t.lease.Targets, t.size, taken
	tell = h.wait == nil && h.told != epoch && h.step != stepRelease
	h.told = epoch
	k.answer(h, outcome{epoch: epoch})
	return tell
}

// claimed notes how old the directory says the lease's claims are: it may know
// of older ones, and the next one may be emptied.
func (k *keeper) claimed(t *task, known claims) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.current(t); h != nil {
		h.claims = h.claims.noYounger(known)
	}
}

// refused drops the lease, and reports whether the owner is to be told.
func (k *keeper) refused(t *task, why error) (tell bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.current(t)
	if h == nil {
		return false
	}
	tell = h.wait == nil && h.step != stepRelease
	k.answer(h, outcome{err: why})
	k.forget(t.lease.Link)
	return tell
}

// refusedMore takes back targets that there is no room for, or drops the lease if
// it is new. It reports whether the owner is to be told.
func (k *keeper) refusedMore(t *task, why error) (tell bool) {
	if !t.told {
		return k.refused(t, why)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.current(t)
	if h == nil || h.step >= stepHold {
		return false // there are others by now, or there is nothing more to say
	}
	h.lease.Targets, h.claims = h.written, h.claims.declare(h.written, false, time.Now())
	k.push(h, stepHold) // there may be more to write than the targets
	return true
}

// done drops a lease that is released.
func (k *keeper) done(t *task) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current(t) != nil {
		k.forget(t.lease.Link)
	}
}

func (k *keeper) setAway(away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
}
