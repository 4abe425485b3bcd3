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
		t.note("%s killed", primary.Name)
		primary.Kill()
		t.Wait(5 * time.Second)
		primary.Run()
		t.linked()
		t.Wait(3 * time.Second)
	}
}

// served is how many scrapes an agent was asked for in the last second.
func (t *trial) served(a *agent) float64 {
	before := rig.Metric(a.ops, "farscrape_agent_scrapes_total")
	t.Wait(time.Second)
	return rig.Metric(a.ops, "farscrape_agent_scrapes_total") - before
}

func killAlone(t *trial) {
	t.agents[0].Kill()
	t.Wait(6 * time.Second)
	if as, ok := t.lists("a0"); !ok || as.connected {
		t.miss("/sd has a0 as %+v", as)
	}
	t.relieve()
	t.agents[0].Run()
	t.linked()
	t.Wait(3 * time.Second)
}

// offlineAtOnce wants nothing but 503 agent_offline of a killed agent, from a
// second after its end on, and soon.
func offlineAtOnce(t *trial) {
	dead := only(t.results, func(r *result) bool {
		return r.job.agent == "a0" && r.start.After(t.began.Add(time.Second)) && r.end.Before(t.relieved)
	})
	other := only(dead, func(r *result) bool { return r.status != http.StatusServiceUnavailable || r.reason != "agent_offline" })
	if len(dead) == 0 || len(other) > 0 {
		of := tallyOf(other, t.relieved)
		t.miss("of %d scrapes of the dead agent %d were not agent_offline: %s", len(dead), len(other), of.why())
	}
	for _, r := range dead {
		if r.took() > time.Second {
			t.miss("agent_offline took %s", seconds(r.took()))
			break
		}
	}
	first := only(t.results, func(r *result) bool { return r.job.agent == "a0" && r.reason == "agent_offline" })
	if len(first) > 0 {
		t.note("the first agent_offline came %s after the kill", seconds(first[0].end.Sub(t.began)))
	}
	othersGoOn(t)
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
	t.relieve()
	t.linked()
	t.Wait(3 * time.Second)
}

// closed are the times at which replicas closed links of an agent since the
// fault.
func (t *trial) closed(agent string, words ...string) (times []time.Time) {
	for _, r := range t.replicas {
		times = append(times, r.Said(t.began, append(words, "link closed", "agent="+agent+" ")...)...)
	}
	return times
}
