package link

import (
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/farscrape/farscrape/relay/wire"
)

// A declaredList is a target list as it is kept here: once, for all links of its
// agent that have declared it.
type declaredList struct {
	*wire.TargetList
	came  [sha256.Size]byte // as what; zero if as a change
	bytes int               // it counts for, as it came
	links int               // that have it; guarded by arrivals.mu
}

// declaredLists are the lists of one agent. Guarded by arrivals.mu.
type declaredLists struct {
	all   []*declaredList // no more than it has links, all different
	bytes int             // of all of them, and of the one being decoded
}

// find returns a list that is as asked for; nil if there is none.
func (d *declaredLists) find(as func(*declaredList) bool) *declaredList {
	if i := slices.IndexFunc(d.all, as); i >= 0 {
		return d.all[i]
	}
	return nil
}

// listsOfAgent is how many lists of the largest size an agent's links may declare
// together, where they declare different ones: those of shared instances, and
// one that is about to change on all links.
const listsOfAgent = 2

// declare takes a whole list in place of the link's last one, and says whether it
// is another. The error is a *wire.LimitError, or says what is wrong with the
// list.
func (v *visit) declare(parts *wire.TargetParts) (changed bool, err error) {
	came, bytes := parts.Sum(), parts.Bytes()
	if v.list != nil && v.list.came == came {
		parts.Drop()
		return false, nil
	}
	v.agent.decoding.Lock() // what all links declare is decoded once
	defer v.agent.decoding.Unlock()
	if v.share(func(l *declaredList) bool { return l.came == came }) {
		parts.Drop()
		return true, nil
	}
	if err := v.reserve(bytes); err != nil {
		return false, err
	}
	list, err := v.decode(parts.Take)
	if err != nil {
		v.unreserve(bytes)
		return false, err
	}
	return v.take(&declaredList{TargetList: list, came: came, bytes: bytes}), nil
}

// change changes the link's list, and says whether that makes another of it. The
// error is as declare's.
func (v *visit) change(c *wire.ListChange, limits wire.TargetLimits) (changed bool, err error) {
	v.agent.decoding.Lock()
	defer v.agent.decoding.Unlock()
	list, err := v.decode(func() (*wire.TargetList, error) { return v.list.Changed(c, limits) })
	if err != nil {
		return false, err
	}
	if list.Hash() == v.list.Hash() {
		return false, nil
	}
	if v.share(func(l *declaredList) bool { return l.Hash() == list.Hash() }) {
		return true, nil
	}
	if err := v.reserve(list.Bytes()); err != nil {
		return false, err
	}
	return v.take(&declaredList{TargetList: list, bytes: list.Bytes()}), nil
}

// decode makes one list of a token's agents after the other: however many there
// are, they have one processor for it.
func (v *visit) decode(make func() (*wire.TargetList, error)) (*wire.TargetList, error) {
	v.bearer.decoding.Lock()
	defer v.bearer.decoding.Unlock()
	return make()
}

// share takes a list that a link of the agent's has declared.
func (v *visit) share(as func(*declaredList) bool) bool {
	v.arrivals.mu.Lock()
	defer v.arrivals.mu.Unlock()
	one := v.agent.declared.find(as)
	if one != nil {
		v.takeLocked(one)
	}
	return one != nil
}

// take makes a list the link's for which there is room, and says whether it is
// another than before. What the agent has declared in another form is kept once.
func (v *visit) take(one *declaredList) (changed bool) {
	v.arrivals.mu.Lock()
	defer v.arrivals.mu.Unlock()
	d := &v.agent.declared
	if same := d.find(func(l *declaredList) bool { return l.Hash() == one.Hash() }); same != nil {
		v.keep(-one.bytes)
		one = same
	} else {
		d.all = append(d.all, one)
	}
	changed = one != v.list
	v.takeLocked(one)
	return changed
}

// reserve makes sure of room for a list, beside those that stay.
func (v *visit) reserve(bytes int) error {
	a := v.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	more := bytes
	if v.list != nil && v.list.links == 1 {
		more -= v.list.bytes
	}
	if total, most := v.agent.declared.bytes+more, listsOfAgent*a.lists.bytes; total > most {
		return &wire.LimitError{What: "bytes of targets on the agent's links together", Value: total, Limit: most, Setting: "twice FARSCRAPE_AGENT_MAX_BYTES"}
	}
	most, note := a.limits.TenantBytes, ""
	if v.pattern {
		most, note = wire.PatternsPart(most), " (a pattern's token fills 3/4)"
	}
	if total := a.held[v.agent.who.Tenant] + more; total > most && more > 0 {
		return &wire.LimitError{What: "bytes of targets of the tenant at one replica" + note, Value: total, Limit: a.limits.TenantBytes, Setting: "FARSCRAPE_TENANT_MAX_BYTES"}
	}
	v.keep(bytes)
	return nil
}

// unreserve gives room for a list back.
func (v *visit) unreserve(bytes int) {
	v.arrivals.mu.Lock()
	defer v.arrivals.mu.Unlock()
	v.keep(-bytes)
}

// keep counts so many bytes of lists more. arrivals.mu is held.
func (v *visit) keep(bytes int) {
	v.agent.declared.bytes += bytes
	held, tenant := v.arrivals.held, v.agent.who.Tenant
	if held[tenant] += bytes; held[tenant] == 0 {
		delete(held, tenant)
	}
}

// takeLocked makes a list the link's. arrivals.mu is held.
func (v *visit) takeLocked(one *declaredList) {
	one.links++
	v.dropLocked()
	v.list = one
}

// dropLocked gives the link's list up. arrivals.mu is held.
func (v *visit) dropLocked() {
	if v.list == nil {
		return
	}
	if v.list.links--; v.list.links == 0 {
		v.keep(-v.list.bytes)
		d := &v.agent.declared
		d.all = slices.DeleteFunc(d.all, func(l *declaredList) bool { return l == v.list })
	}
	v.list = nil
}

// drop gives the link's list up.
func (v *visit) drop() {
	v.arrivals.mu.Lock()
	defer v.arrivals.mu.Unlock()
	v.dropLocked()
}

// declare takes a TARGETS frame, and the list once it is whole. It says whether it
// is, and whether it is another than before.
func (l *Link) declare(payload []byte) (whole, changed bool, err error) {
	l.owe(max(float64(len(payload)), l.links.arrivals.lists.idle()))
	whole, err = l.parts.Add(payload)
	switch {
	case err == nil && whole:
		l.owe(l.links.arrivals.lists.least() - float64(l.parts.Bytes()))
		changed, err = l.visit.declare(&l.parts)
		l.visit.halfList.give()
	case err == nil:
		return false, false, l.awaitPlace(l.visit.halfList.take)
	}
	if err != nil {
		return false, false, &refusedError{err}
	}
	l.declared(changed)
	return whole, changed, nil
}

// declared has everybody see the list that the link has now.
func (l *Link) declared(changed bool) {
	if !changed {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = l.visit.list.TargetList
}

// retarget takes a target list while the link is up.
func (l *Link) retarget(payload []byte) error {
	before := l.list
	_, changed, err := l.declare(payload)
	if err == nil && changed {
		l.retargeted(before)
	}
	return err
}

// change takes a CHANGE frame.
func (l *Link) change(payload []byte) error {
	before, lists := l.list, l.links.arrivals.lists
	l.owe(max(float64(len(payload)), lists.change(before)))
	if l.parts.Bytes() > 0 {
		return &refusedError{errors.New("a change of a list that is not whole yet")}
	}
	c, err := wire.ParseChange(payload)
	if err != nil {
		return &refusedError{err}
	}
	changed, err := l.visit.change(c, l.links.TargetLimits)
	if err != nil {
		return &refusedError{err}
	}
	if l.declared(changed); changed {
		l.retargeted(before)
	}
	return nil
}

// retargeted tells everybody of another list.
func (l *Link) retargeted(before *wire.TargetList) {
	l.links.Directory.Update(l.id, l.list)
	l.links.Changed(l.key, l.list.All())
	l.recordTargets(before)
	l.log.Info("targets changed", "targets", l.list.Len())
}
