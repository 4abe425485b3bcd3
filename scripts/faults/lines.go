package main

import (
	"time"
)

func lineFaults() []fault {
	over := plan{agents: standardAgents()}
	over.agents[0].line = true
	gone := "noticed ≤ 15 s, both sides"
	return []fault{
		{name: "half-open-agent-side", figure: gone, inject: func(t *trial) { t.halfOpen(true) }, judge: othersGoOn, plan: over},
		{name: "half-open-relay-side", figure: gone, inject: func(t *trial) { t.halfOpen(false) }, judge: othersGoOn, plan: over},
		{name: "partition-from-agent", figure: gone, inject: func(t *trial) { t.partition(outward) }, judge: othersGoOn, plan: over},
		{name: "partition-to-agent", figure: gone, inject: func(t *trial) { t.partition(inward) }, judge: othersGoOn, plan: over},
		{name: "agent-black-holed", figure: gone, inject: func(t *trial) { t.partition(outward, inward) }, judge: othersGoOn, plan: over},
		{name: "bad-line", figure: "others' p99 within 10 %", inject: badLine, judge: othersGoOn, plan: over},
	}
}

// unheard is how long a dead peer is waited for.
const unheard = 17 * time.Second

// halfOpen resets one end of each of an agent's connections. That end knows at
// once; the other has to notice.
func (t *trial) halfOpen(agentSide bool) {
	t.agents[0].line.halfOpen(agentSide)
	t.Wait(unheard)
	if agentSide {
		t.noticed("the relay", t.closed("a0"), 2)
	} else {
		t.noticed("the agent", t.agents[0].Said(t.began, "link lost"), 2)
	}
	t.recover()
}

// partition swallows what goes these ways over the connections that are there.
// New ones work, as where a NAT has forgotten the old.
func (t *trial) partition(ways ...int) {
	t.agents[0].line.forget(ways...)
	t.Wait(unheard)
	t.noticed("the relay", t.closed("a0"), 2)
	t.noticed("the agent", t.agents[0].Said(t.began, "link lost"), 2)
	t.recover()
}

// A thin and lossy line, as some sites have.
func thin() weather { return weather{delay: 100 * time.Millisecond, loss: 0.02, rate: 64_000} }

// badLine compares the others' latency with the line good and bad, in turns, so
// that what else happens on the machine meets both. The agent's answers are more
// than the line carries.
func badLine(t *trial) {
	const window, settling = 8 * time.Second, 2 * time.Second
	rounds := 4
	if t.short {
		rounds = 2
	}
	l := t.agents[0].line
	var good, bad []time.Duration
	for range rounds {
		good = append(good, t.othersP99(window))
		l.set(thin())
		t.Wait(settling)
		bad = append(bad, t.othersP99(window))
		l.set(weather{})
		t.Wait(settling)
	}
	t.relieve()
	before, during := median(good), median(bad)
	t.Note("others' p99 %s, with the bad line %s, medians of %d windows of %s in turns", milliseconds(before), milliseconds(during), rounds, window)
	if during > before+before/10 {
		t.Miss("others' p99 went from %s to %s", milliseconds(before), milliseconds(during))
	}
	if lost := t.agents[0].Said(t.began, "link lost"); len(lost) > 0 {
		t.Note("the agent lost %d links", len(lost))
	}
	t.Wait(3 * time.Second)
}

// othersP99 is what the answers of the other agents' immediate targets took
// during the next while: a target's own delay would hide the relay's.
func (t *trial) othersP99(window time.Duration) time.Duration {
	began := time.Now()
	t.Wait(window)
	return quantile(only(t.scraper.since(began), func(r *result) bool {
		return r.job.agent != "a0" && r.job.class != large && r.job.target.delay == 0
	}), 0.99)
}
