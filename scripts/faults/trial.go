package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A fault is one thing that goes wrong, and what it may cost.
type fault struct {
	name   string
	figure string // as the issue has it
	short  bool   // part of the short campaign
	plan   plan
	inject func(*trial)
	judge  func(*trial)
}

// A trial is a fault being tried: its stack, under load.
type trial struct {
	*stack
	scraper *scraper
	watch   *watch
	sampler *sampler
	short   bool // the short form of it

	began    time.Time // when the fault was injected
	relieved time.Time // when it was over; as began, if it has no end
	emptied  time.Time // when Redis was, in a fault that does it
	results  []result  // from began on; set when the load has stopped
	misses   []string  // what was not reached
	notes    []string  // what was measured besides
}

// miss tells of a figure that was not reached.
func (t *trial) miss(format string, args ...any) {
	t.misses = append(t.misses, fmt.Sprintf(format, args...))
}

// note tells of something that was measured.
func (t *trial) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// strike marks the moment of the fault.
func (t *trial) strike() { t.began = time.Now(); t.relieved = t.began }

// relieve marks the moment at which it is over.
func (t *trial) relieve() { t.relieved = time.Now() }

const (
	warm    = 3 * time.Second  // of scrapes before anything is measured
	cooling = 30 * time.Second // for usage to come back
)

// try tries a fault on a stack of its own.
func (f *fault) try(ctx context.Context, dir string, of builds, short bool) (r row) {
	r = row{fault: f}
	folder := filepath.Join(dir, f.name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		r.misses = []string{err.Error()}
		return r
	}
	b := rig.New(ctx, folder)
	defer b.Clear()
	defer func() {
		if p := recover(); p != nil {
			why, ok := p.(rig.Broken)
			if !ok {
				panic(p)
			}
			r.misses = append(r.misses, "not carried out: "+why.Why)
		}
	}()
	p := f.plan.withDefaults()
	if short {
		p.crowd /= 10
	}
	t := &trial{stack: newStack(b, of, p), short: short}
	t.begin(&r)
	f.inject(t)
	t.finish(&r)
	f.judge(t)
	t.judgeAlways(&r)
	r.misses, r.notes = t.misses, t.notes
	return r
}

func (p plan) withDefaults() plan {
	if p.agents == nil {
		p.agents = standardAgents()
	}
	if p.timeout == 0 {
		p.timeout = 5 * time.Second
	}
	if p.sdEvery == 0 {
		p.sdEvery = 500 * time.Millisecond
	}
	if p.jobs == nil {
		p.jobs = throughBalancer
	}
	return p
}

// begin puts the load on, waits until all of it is answered, and takes down what
// is used.
func (t *trial) begin(r *row) {
	if !t.plan.restless {
		t.linked()
	}
	t.scraper = startScraper(t.stack, t.plan.jobs(t.stack))
	t.Until(patience, "all targets answer", func() bool {
		t.Wait(warm)
		last := t.scraper.since(time.Now().Add(-warm))
		return len(last) > 0 && len(only(last, func(r *result) bool { return !r.ok() })) == 0
	})
	t.watch = startWatch(t.stack)
	r.before = t.usage()
	t.sampler = startSampler(t.stack)
	t.strike()
}

// finish waits until what is used is back, under the same load, and takes the
// load off.
func (t *trial) finish(r *row) {
	t.Poll(cooling, func() bool {
		r.after = t.usage()
		return r.after.beyond(r.before) == ""
	})
	t.sampler.end()
	r.peak = t.sampler.peak
	t.scraper.end()
	t.watch.end()
	t.results = t.scraper.since(t.began)
	t.Must(writeFailed(filepath.Join(t.Dir, "failed.log"), t.results))
	small := only(t.results, func(r *result) bool { return r.job.class != large })
	r.tally = tallyOf(small, t.relieved)
	if b := tallyOf(only(t.results, func(r *result) bool { return r.job.class == large }), t.relieved); b.failed > 0 {
		t.note("large answers: %d of %d failed: %s", b.failed, b.tried, b.why())
	}
}

// judgeAlways is what holds for every fault.
func (t *trial) judgeAlways(r *row) {
	for _, res := range t.results {
		if res.wrong != "" {
			t.miss("wrong answer for %s/%s: %s", res.job.agent, res.job.target.name, res.wrong)
			break
		}
	}
	if n := r.tally.reasons["agent_unknown"]; n > 0 {
		t.miss("404 agent_unknown %d times", n)
	}
	if r.tally.late > 0 {
		t.miss("%d scrapes were answered after their time", r.tally.late)
	}
	if t.watch.lacking > 0 {
		t.miss("/sd was partial %d times: %s", t.watch.lacking, strings.Join(t.watch.partial, "; "))
	}
	if t.watch.refused > 0 {
		t.note("/sd 503 %d times, whole %d times", t.watch.refused, t.watch.listed)
	}
	if more := r.after.beyond(r.before); more != "" {
		t.miss("not back: %s", more)
	}
	for _, p := range t.processes() {
		if line := p.Crashed(); line != "" {
			t.miss("%s crashed: %s", p.Name, line)
		}
	}
}
