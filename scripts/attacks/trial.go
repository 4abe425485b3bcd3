package main

import (
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// A trial is an attack being carried out. What it starts on its rig ends with it.
type trial struct {
	*rig.Rig
	*attack
	*rig.Finding
	stack *stack
	own   *rig.Stack // on the same Redis
	token string     // a scraper's of the attacker's tenant
	began time.Time

	agents []*agent // that it started
}

// agentAt starts an honest agent's process, which dials that address and ends
// with the trial, and waits until a relay has linked it.
func (t *trial) agentAt(name, relay string, env ...string) *agent {
	a := t.agentDialing(name, relay, env...)
	t.Until(rig.Patience, name+" is linked", func() bool { return a.Links() > 0 })
	return a
}

// agentDialing does not wait.
func (t *trial) agentDialing(name, relay string, env ...string) *agent {
	a := t.stack.agentOn(t.own, name, "", relay, env...)
	t.agents = append(t.agents, a)
	return a
}

// agentMost is the memory, in megabytes, that an agent that the attack starts may
// come to: the limit that we ship.
const agentMost = 128

// cooling is how long what an attack used up may take to come back: longer than
// a silent link takes to be noticed.
const cooling = 20 * time.Second

// try carries out an attack on a stack that is whole and quiet.
func (s *stack) try(a *attack) (r row) {
	began := time.Now()
	r = row{attack: a, bound: a.bound.orStandard()}
	defer func() { r.Took = time.Since(began) }()
	if s.why != nil {
		r.Miss("the stack does not come up: %v", s.why)
		return r
	}
	if _, ok := s.Poll(rig.Patience, s.whole); !ok {
		r.Miss("not carried out: the stack is not whole")
		return r
	}
	s.enough(began)
	r.before = s.usage()
	calm := s.window(began, time.Now(), false)
	for _, replica := range s.Replicas {
		replica.ResetPeak()
	}
	lines := s.logged()

	own := &rig.Stack{Rig: rig.New(s.Ctx, s.TempDir()), Build: s.Build, KeyFile: s.KeyFile, RedisURL: s.RedisURL}
	t := &trial{Rig: own.Rig, own: own, attack: a, Finding: &r.Finding, stack: s, token: s.scraperToken(wire.DefaultTenant), began: time.Now()}
	r.seen = t.carryOut(&r)
	s.enough(t.began)
	r.calm, r.during = calm, s.window(t.began, time.Now(), a.bound.pages)
	r.peak = s.peak()
	r.lines = s.logged() - lines
	s.Poll(cooling, func() bool {
		r.after = s.usage()
		return r.after.back(r.before, r.bound)
	})
	r.judge()
	for _, p := range s.Processes() {
		if line := p.Crashed(); line != "" {
			r.Miss("%s crashed: %s", p.Name, line)
		}
	}
	return r
}

// carryOut runs the attack and takes down what it started.
func (t *trial) carryOut(r *row) string {
	defer t.Clear()
	defer func() {
		for _, a := range t.agents {
			if peak := a.Memory("VmHWM") >> 20; peak > agentMost {
				r.Miss("the agent took %d MB, the bound is %d", peak, agentMost)
			}
			if line := a.Crashed(); line != "" {
				r.Miss("%s crashed: %s", a.Name, line)
			}
		}
	}()
	return guarded(func() string { return t.run(t) })
}

// judge is what holds for every attack.
func (r *row) judge() {
	if r.seen != r.attack.expected {
		r.Miss("expected %q, seen %q", r.attack.expected, r.seen)
	}
	if r.during.failed > 0 {
		r.Miss("bystanders lost %d of %d: %s", r.during.failed, r.during.asked, reasons(r.during.why))
	}
	if r.during.fewest < scrapeLeast {
		r.Miss("a bystander got %d scrapes in, of %d", r.during.fewest, scrapeLeast)
	}
	if r.during.slowest > r.bound.delay {
		r.late = true
		r.Miss("bystanders waited %s (99th percentile), the bound is %s", milliseconds(r.during.slowest), milliseconds(r.bound.delay))
	}
	if limit := r.limit(); r.peak>>20 > limit {
		r.Miss("a replica took %d MB, the bound is %d", r.peak>>20, limit)
	}
	if r.lines > r.bound.lines {
		r.Miss("%d log lines, the bound is %d", r.lines, r.bound.lines)
	}
	if !r.after.back(r.before, r.bound) {
		r.Miss("not back: goroutines %d, were %d; descriptors %d, were %d; live heap %.1f MB, was %.1f", r.after.goroutines, r.before.goroutines,
			r.after.descriptors, r.before.descriptors, float64(r.after.live)/1e6, float64(r.before.live)/1e6)
	}
}

// limit is the memory bound in megabytes.
func (r *row) limit() int { return min(r.before.resident>>20+r.bound.memory, most) }

// reasons lists the most frequent.
func reasons(why map[string]int) (text string) {
	all := rig.ByFrequency(why)
	for _, w := range all[:min(len(all), 3)] {
		text += fmt.Sprintf("%s ×%d; ", w, why[w])
	}
	return text
}
