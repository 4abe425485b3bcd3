package link

import (
	"slices"

	"github.com/farscrape/farscrape/relay/wire"
)

// A declaredList is a target list as it is kept here: once, for all links of its
// agent that have declared it.
type declaredList struct {
	hash    wire.ListHash
	targets []wire.Target // shared: never written
	bytes   int           // encoded
	links   int           // that have it; guarded by arrivals.mu
}

// declaredLists are the lists of one agent. Guarded by arrivals.mu.
type declaredLists struct {
	all   []*declaredList // no more than it has links
	bytes int             // of all of them, and of the one being decoded
}

func (d *declaredLists) find(hash wire.ListHash) *declaredList {
	for _, l := range d.all {
		if l.hash == hash {
			return l
		}
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
func (v *visit) declare(list *wire.TargetList) (changed bool, err error) {
	hash, bytes := list.Hash(), list.Bytes()
	if v.list != nil && v.list.hash == hash {
		list.Drop()
		return false, nil
	}
	v.agent.decoding.Lock() // what all links declare is decoded once
	defer v.agent.decoding.Unlock()
	if v.share(hash) {
		list.Drop()
		return true, nil
	}
	if err := v.reserve(bytes); err != nil {
		return false, err
	}
	targets, err := v.decode(list)
	v.arrivals.mu.Lock()
	defer v.arrivals.mu.Unlock()
	if err != nil {
		v.keep(-bytes)
		return false, err
	}
	one := &declaredList{hash: hash, targets: targets, bytes: bytes}
	d := &v.agent.declared
	d.all = append(d.all, one)
	v.takeLocked(one)
	return true, nil
}

// decode decodes one list of a token's agents after the other: however many there
// are, they have one processor for it.
func (v *visit) decode(list *wire.TargetList) ([]wire.Target, error) {
	v.bearer.decoding.Lock()
	defer v.bearer.decoding.Unlock()
	return list.Take()
}

// share takes a list that another link of the agent's has declared.
func (v *visit) share(hash wire.ListHash) bool {
	v.arrivals.mu.Lock()
	defer v.arrivals.mu.Unlock()
	one := v.agent.declared.find(hash)
	if one != nil {
		v.takeLocked(one)
	}
	return one != nil
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
	whole, err = l.list.Add(payload)
	switch {
	case err == nil && whole:
		l.owe(l.links.arrivals.lists.least() - float64(l.list.Bytes()))
		changed, err = l.visit.declare(&l.list)
		l.visit.halfList.give()
	case err == nil:
		return false, false, l.awaitPlace(l.visit.halfList.take)
	}
	if err != nil {
		return false, false, &refusedError{err}
	}
	if changed {
		l.mu.Lock()
		l.targets = l.visit.list.targets
		l.mu.Unlock()
	}
	return whole, changed, nil
}

// retarget takes a changed target list while the link is up.
func (l *Link) retarget(payload []byte) error {
	before := l.targets
	_, changed, err := l.declare(payload)
	if err == nil && changed {
		l.links.Directory.Update(l.id, l.targets)
		l.links.Changed(l.key, l.targets)
		l.recordTargets(before)
		l.log.Info("targets changed", "targets", len(l.targets))
	}
	return err
}
