package relay

import (
	"time"

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
	a := v.arrivals
	a.mu.Lock()
	decoding := &a.agents[v.key].decoding
	a.mu.Unlock()
	decoding.Lock()
	defer decoding.Unlock()
	if v.share(hash) {
		list.Drop()
		return true, nil
	}
	if err := v.reserve(bytes); err != nil {
		return false, err
	}
	targets, err := list.Take()
	a.mu.Lock()
	defer a.mu.Unlock()
	d := &a.agents[v.key].declared
	if err != nil {
		d.bytes -= bytes
		return false, err
	}
	one := &declaredList{hash: hash, targets: targets, bytes: bytes}
	d.all = append(d.all, one)
	v.takeLocked(d, one)
	return true, nil
}

// share takes a list that another link of the agent's has declared.
func (v *visit) share(hash wire.ListHash) bool {
	a := v.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	d := &a.agents[v.key].declared
	one := d.find(hash)
	if one != nil {
		v.takeLocked(d, one)
	}
	return one != nil
}

// reserve makes sure of room for a list, beside those that stay.
func (v *visit) reserve(bytes int) error {
	a := v.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	d := &a.agents[v.key].declared
	total := d.bytes + bytes
	if v.list != nil && v.list.links == 1 {
		total -= v.list.bytes
	}
	if most := listsOfAgent * a.lists.bytes; total > most {
		return &wire.LimitError{What: "bytes of targets on the agent's links together", Value: total, Limit: most, Setting: "twice FARSCRAPE_AGENT_MAX_BYTES"}
	}
	d.bytes += bytes
	return nil
}

func (v *visit) takeLocked(d *declaredLists, one *declaredList) {
	one.links++
	v.dropLocked(d)
	v.list = one
}

func (v *visit) dropLocked(d *declaredLists) {
	if v.list == nil {
		return
	}
	if v.list.links--; v.list.links == 0 {
		d.bytes -= v.list.bytes
		for i, l := range d.all {
			if l == v.list {
				d.all = append(d.all[:i], d.all[i+1:]...)
				break
			}
		}
	}
	v.list = nil
}

// drop gives the link's list up.
func (v *visit) drop() {
	v.arrivals.mu.Lock()
	defer v.arrivals.mu.Unlock()
	v.dropLocked(&v.arrivals.agents[v.key].declared)
}

// begin takes a place for a list that is not yet whole, and reports whether the
// visit has one.
func (v *visit) begin() bool {
	v.halfway = v.halfway || v.arrivals.unfinished.take(v.token, 1)
	return v.halfway
}

// finish gives the place back, if there is one.
func (v *visit) finish() {
	if v.halfway {
		v.halfway = false
		v.arrivals.unfinished.give(v.token, 1)
	}
}

// listLimits are what an agent may send besides the answers to scrapes, in bytes,
// by the size of the largest list it may have: eight of these at once, and one
// more in four seconds. By default that is 16 MiB and 512 KiB/s, which is one
// percent of a core to decode.
type listLimits struct{ bytes int }

func (l listLimits) atOnce() float64    { return 8 * float64(l.bytes) }
func (l listLimits) perSecond() float64 { return float64(l.bytes) / 4 }

// least is what a list counts for, however small: 256 at once by default, and 8 a
// second.
func (l listLimits) least() float64 { return float64(l.bytes) / 32 }

// idle is what a frame counts for that belongs to nothing: 4,096 at once by
// default, and 128 a second.
func (l listLimits) idle() float64 { return float64(l.bytes) / 512 }

// takes is how long n bytes take to be paid.
func (l listLimits) takes(n float64) time.Duration {
	return time.Duration(max(0, n/l.perSecond()) * float64(time.Second))
}

const (
	// maxRest is how long a link may wait for its turn, at once or message after
	// message: for two lists of the largest size and some. One that owes more is
	// closed. While it waits nobody sees that its agent is gone, and what such an
	// agent has left behind in the connection is read at the same pace.
	maxRest = 10 * time.Second
	// maxDebt bounds how long an agent that was closed for it has to wait.
	maxDebt = time.Minute
)

// A debt is what an agent has sent, in bytes, less what time has paid.
type debt struct {
	owed float64
	at   time.Time
}

func (d *debt) add(now time.Time, n float64, l listLimits) {
	d.owed = min(d.left(now, l)+n, l.atOnce()+maxDebt.Seconds()*l.perSecond())
	d.at = now
}

func (d *debt) left(now time.Time, l listLimits) float64 {
	return max(0, d.owed-now.Sub(d.at).Seconds()*l.perSecond())
}

// paid is when nothing will be owed any more.
func (d *debt) paid(now time.Time, l listLimits) time.Duration { return l.takes(d.left(now, l)) }

// wait is when no more will be owed than may be at once.
func (d *debt) wait(now time.Time, l listLimits) time.Duration {
	return l.takes(d.left(now, l) - l.atOnce())
}

// owe notes n bytes, and returns how long to read nothing of the agent's.
func (v *visit) owe(n float64) time.Duration {
	a := v.arrivals
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	d := &a.agents[v.key].debt
	d.add(now, n, a.lists)
	return d.wait(now, a.lists)
}
