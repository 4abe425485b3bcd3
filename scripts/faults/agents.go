package main

import (
	"net/http"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

func agentFaults() []fault {
	shared := append(standardAgents()[:4], agentPlan{name: "a4"}, agentPlan{name: "a4", twin: true})
	shared[4].env = []string{"FARSCRAPE_SHARED=true"}
	shared[5].env = shared[4].env
	return []fault{
		{name: "agent-killed-shared", figure: "0 failed", short: true, inject: killShared, judge: noneFailed, plan: plan{agents: shared}},
		{name: "agent-killed-alone", figure: "503 agent_offline ≤ 1 s, 404 never, listed", inject: killAlone, judge: offlineAtOnce},
		{name: "agent-frozen", figure: "noticed ≤ 15 s", inject: freezeAgent, judge: othersGoOn},
	}
}

// killShared kills the primary, and when it is back, as a standby, the new one.
func killShared(t *trial) {
	twins := t.agents[len(t.agents)-2:]
	for range 2 {
		primary := twins[0]
		if t.served(twins[1]) > t.served(twins[0]) {
			primary = twins[1]
		}
		t.Note("%s killed", primary.Name)
		primary.Kill()
		t.Wait(5 * time.Second)
		primary.Run()
		t.settle()
	}
}

// served is how many scrapes an agent was asked for in the last second.
func (t *trial) served(a *agent) float64 {
	before := rig.Metric(a.Ops, "farscrape_agent_scrapes_total")
	t.Wait(time.Second)
	return rig.Metric(a.Ops, "farscrape_agent_scrapes_total") - before
}

func killAlone(t *trial) {
	t.agents[0].Kill()
	t.Wait(6 * time.Second)
	if as, ok := t.lists("a0"); !ok || as.connected {
		t.Miss("/sd has a0 as %+v", as)
	}
	t.relieve()
	t.agents[0].Run()
	t.settle()
}

// offlineAtOnce wants nothing but 503 agent_offline of a killed agent, from a
// second after its end on, and soon.
func offlineAtOnce(t *trial) {
	dead := t.judgeAway("the dead agent", "agent_offline", func(r *result) bool {
		return r.status == http.StatusServiceUnavailable && r.reason == "agent_offline"
	})
	for _, r := range dead {
		if r.took() > time.Second {
			t.Miss("agent_offline took %s", seconds(r.took()))
			break
		}
	}
	first := only(t.results, func(r *result) bool { return r.job.agent == "a0" && r.reason == "agent_offline" })
	if len(first) > 0 {
		t.Note("the first agent_offline came %s after the kill", seconds(first[0].end.Sub(t.began)))
	}
	othersGoOn(t)
}

// judgeAway wants the scrapes of the first agent to be what they should, from a second
// after it went to when it was told to come back.
func (t *trial) judgeAway(who, what string, is func(*result) bool) (away []result) {
	away = only(t.results, func(r *result) bool {
		return r.job.agent == "a0" && r.start.After(t.began.Add(time.Second)) && r.end.Before(t.relieved)
	})
	other := only(away, func(r *result) bool { return !is(r) })
	if of := tallyOf(other, t.relieved); len(away) == 0 || len(other) > 0 {
		t.Miss("of %d scrapes of %s %d were not %s: %s", len(away), who, len(other), what, of.why())
	}
	return away
}

// othersGoOn wants the scrapes of all agents but the first unharmed.
func othersGoOn(t *trial) {
	t.judgeNone("of other agents", only(small(t.results), func(r *result) bool { return r.job.agent != "a0" }))
}

// freezeAgent stops an agent's process where it stands.
func freezeAgent(t *trial) {
	t.agents[0].Signal(syscall.SIGSTOP)
	t.Wait(20 * time.Second)
	t.noticed("the relay", t.closed("a0"), 2)
	t.agents[0].Signal(syscall.SIGCONT)
	t.recover()
}

// closed are the times at which replicas closed links of an agent since the
// fault.
func (t *trial) closed(agent string, words ...string) (times []time.Time) {
	for _, r := range t.Replicas {
		times = append(times, r.Said(t.began, append(words, "link closed", "agent="+agent+" ")...)...)
	}
	return times
}
