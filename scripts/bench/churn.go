package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

const (
	// linksEach is how many links an agent has.
	linksEach = 2
	// discoverEvery is how often a scraper asks for the list.
	discoverEvery = 5 * time.Second
	// churnRest is how long a fleet at rest is watched.
	churnRest = 20 * time.Second
	// lateFor is how long it is watched how late changes are seen, and lateEvery how
	// often it is looked.
	lateFor   = 30 * time.Second
	lateEvery = 100 * time.Millisecond
	// oneEvery is how often a single target is replaced: within that time it is
	// everywhere, and at the holders 3 s after the link has declared it.
	oneEvery = 6 * time.Second
	// quietAfter is how long replicas read again what has only just changed: 30 s after
	// they did so first.
	quietAfter = 35 * time.Second
)

// A fleet is a system whose targets change: all of its replicas but the last hold
// links of them, and the last is the one that is asked for the list.
type fleet struct {
	*bench
	name      string
	redis     string
	processes []*rig.Process // the replicas', and Redis's
	agents    []*listedAgent
	meters    []*meter // an agent each
	token     string
}

func (f *fleet) edge() *rig.Replica { return f.Replicas[len(f.Replicas)-1] }

// churn measures what it takes to follow targets that come and go.
func (b *bench) churn() int {
	names := b.systems
	if names == nil {
		names = []string{"fleet"}
	}
	var all []*churnFigures
	for _, name := range names {
		kind, binaries, _ := strings.Cut(name, "@")
		if kind != "fleet" {
			b.Fatalf("no system whose targets change is called %q", name)
		}
		b.Build = cmp.Or(binaries, b.Dir)
		f := b.startFleet(name)
		all = append(all, f.measureChurn())
		b.Clear()
		b.Replicas = nil
	}
	b.printChurn(all)
	b.printSingles(all)
	return 0
}

// startFleet starts replicas, and agents with two links each to all but the last. That
// has as many links of another tenant's, or the others would give theirs away.
func (b *bench) startFleet(name string) *fleet {
	f := &fleet{bench: b, name: name}
	var store *rig.Process
	f.redis, store = b.startRedis("redis")
	var holders []string
	for i := range b.replicas - 1 {
		r := b.startReplica(fmt.Sprintf("holder-%d", i))
		f.processes = append(f.processes, r.Process)
		holders = append(holders, r.Addr)
	}
	f.processes = append(f.processes, b.startReplica("edge").Process, store)
	others := b.StartCrowd((linksEach*listedAgents-1)/len(holders)+1, f.edge().Addr, nil, b.crowdTokens("others", 1), crowdBody)
	f.token = b.Mint("-scraper", "bench")
	for i := range listedAgents {
		m := b.startMeter(holders, i)
		f.meters = append(f.meters, m)
		f.agents = append(f.agents, b.startListedAgent(i, "http://"+m.addr, linksEach))
	}
	b.Until(2*time.Minute, "the agents have both links", func() bool {
		return others.Whole() && !slices.ContainsFunc(f.agents, func(a *listedAgent) bool { return a.Links() != linksEach })
	})
	b.Until(rig.Patience, "all targets are listed", func() bool { return f.discover().targets == listedAgents*(listedTargets+1) })
	b.Wait(quietAfter)
	f.discover()
	b.say("%s is up", name)
	return f
}

// churnFigures are what became of one system.
type churnFigures struct {
	name            string
	processes       []*rig.Process
	rest, busy      spent
	restSD, busySD  asked
	files, replaced int
	memory, peaks   []int           // of the processes, bytes
	late            []time.Duration // ascending
	keys            []keyKind
	singles         []single
}

func (f *fleet) measureChurn() *churnFigures {
	c := &churnFigures{name: f.name, processes: f.processes}
	before := f.used()
	c.restSD = f.discoverFor(churnRest)
	c.rest = f.used().since(before)
	f.say("%s: at rest: the list took %v", f.name, c.restSD.took)

	for _, p := range f.processes {
		p.ResetPeak()
	}
	before = f.used()
	w := f.startWriter()
	c.busySD = f.discoverFor(f.length)
	w.end()
	c.busy, c.files, c.replaced = f.used().since(before), w.files, w.replaced
	for _, p := range f.processes {
		c.memory = append(c.memory, p.Memory("VmRSS"))
		c.peaks = append(c.peaks, p.Memory("VmHWM"))
	}
	f.say("%s: %d targets replaced: the list took %v", f.name, c.replaced, c.busySD.took)

	c.late = f.lateness()
	c.keys = f.keyKinds()
	f.Wait(quietAfter)
	for range f.rounds {
		c.singles = append(c.singles, f.replaceOne())
	}
	return c
}

// discover asks for the list.
func (f *fleet) discover() listing { return f.list(f.edge().Addr, "", f.token) }

// asked is how asking for the list went. On a busy machine Redis may be away for a
// moment, and the list with it.
type asked struct {
	took    []time.Duration // ascending
	refused int
}

// discoverFor asks again and again for a while.
func (f *fleet) discoverFor(length time.Duration) (a asked) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		next := time.Now().Add(discoverEvery)
		if l := f.discover(); l.targets < 0 {
			a.refused++
			f.say("%s: %s", f.name, l.body[:min(len(l.body), 200)])
		} else {
			a.took = append(a.took, l.took)
		}
		f.Wait(min(time.Until(next), time.Until(end)))
	}
	slices.Sort(a.took)
	return a
}

// lateness is how long after a file was written its targets were in the list.
func (f *fleet) lateness() (late []time.Duration) {
	w := f.startWriter()
	look := func() {
		l := f.list(f.edge().Addr, "?target="+freshTarget+"*", f.token)
		now := time.Now()
		w.forget(func(c change) bool {
			shown := l.shows(c.agent, c.target)
			if shown {
				late = append(late, now.Sub(c.at))
			}
			return shown
		})
		f.Wait(lateEvery)
	}
	for end := time.Now().Add(lateFor); time.Now().Before(end); {
		look()
	}
	w.end()
	f.Until(rig.Patience, "all changes are listed", func() bool { look(); return w.unseen() == 0 })
	slices.Sort(late)
	f.say("%s: late by %v", f.name, late)
	return late
}

// A single is what was taken while one target was replaced.
type single struct {
	spent
	shown bool // it was in the list within that time
}

// replaceOne replaces one target of the first agent.
func (f *fleet) replaceOne() single {
	a, before := f.agents[0], f.used()
	target := a.replace(1)
	f.Must(a.write())
	f.Wait(oneEvery - time.Second)
	l := f.discover()
	f.Wait(time.Second)
	return single{f.used().since(before), l.shows(a.name, target)}
}
