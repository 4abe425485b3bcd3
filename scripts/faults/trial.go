package main

import (
	"context"
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
	*rig.Finding
	scraper *scraper
	watch   *watch
	sampler *sampler
	short   bool // the short form of it

	began    time.Time // when the fault was injected
	relieved time.Time // when it was over; as began, if it has no end
	emptied  time.Time // when Redis was, in a fault that does it
	results  []result  // from began on; set when the load has stopped
}

// strike marks the moment of the fault.
func (t *trial) strike() { t.began = time.Now(); t.relieved = t.began }

// relieve marks the moment at which it is over.
func (t *trial) relieve() { t.relieved = time.Now() }

// settle waits until all links are back, and what comes after it.
func (t *trial) settle() {
	t.linked()
	t.Wait(3 * time.Second)
}

// recover is the end of a fault that links are lost by.
func (t *trial) recover() {
	t.relieve()
	t.settle()
}

// over is the end of an outage, whose scrapes come back by themselves.
func (t *trial) over() {
	t.relieve()
	t.Wait(8 * time.Second)
}

const (
	warm    = 3 * time.Second  // of scrapes before anything is measured
	cooling = 30 * time.Second // for usage to come back
)

// try tries a fault on a stack of its own.
func (f *fault) try(ctx context.Context, dir string, of builds, short bool) (r row) {
	r = row{fault: f}
	folder := filepath.Join(dir, f.name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		r.Miss("%v", err)
		return r
	}
	b := rig.New(ctx, folder)
	defer b.Clear()
	p := f.plan.withDefaults()
	if short {
		p.crowd /= 10
		p.fleet /= 10
	}
	err := rig.Try(func() {
		t := &trial{stack: newStack(b, of, p), Finding: &r.Finding, short: short}
		t.begin(&r)
		f.inject(t)
		t.finish(&r)
		f.judge(t)
		t.judgeAlways(&r)
	})
	if err != nil {
		r.Miss("not carried out: %v", err)
	}
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
	t.Until(rig.Patience, "all targets answer", func() bool {
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
		t.Note("large answers: %d of %d failed: %s", b.failed, b.tried, b.why())
	}
}

// judgeAlways is what holds for every fault.
func (t *trial) judgeAlways(r *row) {
	for _, res := range t.results {
		if res.wrong != "" {
			t.Miss("wrong answer for %s/%s: %s", res.job.agent, res.job.target.name, res.wrong)
			break
		}
	}
	if n := r.tally.reasons["agent_unknown"]; n > 0 {
		t.Miss("404 agent_unknown %d times", n)
	}
	if r.tally.late > 0 {
		t.Miss("%d scrapes were answered after their time", r.tally.late)
	}
	if t.watch.lacking > 0 {
		t.Miss("/sd was partial %d times: %s", t.watch.lacking, strings.Join(t.watch.partial, "; "))
	}
	if t.watch.refused > 0 {
		t.Note("/sd 503 %d times, whole %d times", t.watch.refused, t.watch.listed)
	}
	if more := r.after.beyond(r.before); more != "" {
		t.Miss("not back: %s", more)
	}
	for _, p := range t.Processes() {
		if line := p.Crashed(); line != "" {
			t.Miss("%s crashed: %s", p.Name, line)
		}
	}
}
