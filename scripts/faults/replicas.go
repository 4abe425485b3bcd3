package main

import (
	"syscall"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

func replicaFaults() []fault {
	return []fault{
		{name: "replica-drained", figure: "0 failed", inject: drainReplica, judge: noneFailed},
		{name: "replica-replaced", figure: "0 failed", inject: replaceReplica, judge: noneFailed},
		{name: "rolling-restart", figure: "0 failed", short: true, inject: restartAll, judge: noneFailed},
		{name: "links-rotated", figure: "0 failed", short: true, inject: rotateLinks, judge: noneFailed,
			plan: plan{relayEnv: []string{"FARSCRAPE_LINK_MAX_AGE=1s"}, restless: true}},
		{name: "replica-killed", figure: "0 failed but on its own sockets", short: true, inject: killReplica, judge: noneFailedElsewhere},
		{name: "replica-killed-one-link", figure: "no target misses > 5 s; 99 % back ≤ 5 s", inject: killReplica, judge: backSoon,
			plan: plan{agents: withEnv(standardAgents(), "FARSCRAPE_LINKS=1")}},
		{name: "replica-frozen", figure: "noticed ≤ 15 s", inject: freezeReplica, judge: noneFailedElsewhere},
	}
}

func withEnv(agents []agentPlan, env ...string) []agentPlan {
	for i := range agents {
		agents[i].env = env
	}
	return agents
}

// drainReplica is a platform's stop, and the replica's successor.
func drainReplica(t *trial) {
	t.Note("drained in %s", seconds(t.Replicas[0].Stop()))
	t.again(t.Replicas[0])
	t.settle()
}

// replaceReplica is the update of a relay of one replica: another comes, and as
// soon as the balancer can have seen it the first is told to stop.
func replaceReplica(t *trial) {
	first, second := t.Replicas[0], t.Replicas[1]
	for _, r := range t.Replicas[1:] {
		r.Stop()
	}
	t.Wait(8 * time.Second) // until the first knows that it is alone
	t.again(second)
	t.Wait(time.Second)
	t.strike()
	t.Note("drained in %s", seconds(first.Stop()))
	t.again(first)
	t.again(t.Replicas[2])
	t.settle()
}

// restartAll stops one replica after the other, the next as soon as the balancer
// can have seen that the last is back.
func restartAll(t *trial) {
	rounds := 10
	if t.short {
		rounds = 1
	}
	for range rounds {
		for _, r := range t.Replicas {
			r.Stop()
			t.again(r)
			t.Wait(2 * time.Second)
		}
	}
	t.settle()
	var links []int
	for _, r := range t.Replicas {
		links = append(links, r.Links())
	}
	t.Note("%d rounds; links on the replicas afterwards %v", rounds, links)
}

func rotateLinks(t *trial) {
	before := t.drained()
	if t.short {
		t.Wait(10 * time.Second)
	} else {
		t.Wait(time.Minute)
	}
	t.Note("%.0f links were moved", t.drained()-before)
}

// drained is how many links have been moved so far.
func (t *trial) drained() (n float64) {
	for _, r := range t.Replicas {
		n += rig.Metric(r.Ops, "farscrape_relay_links_closed_total", `cause="drained"`)
	}
	return n
}

func killReplica(t *trial) {
	t.Replicas[0].Kill()
	t.Wait(8 * time.Second)
	t.again(t.Replicas[0])
	t.settle()
}

// freezeReplica stops a replica's process where it stands.
func freezeReplica(t *trial) {
	frozen := t.Replicas[0]
	links := frozen.Links()
	frozen.Signal(syscall.SIGSTOP)
	t.Wait(20 * time.Second)
	frozen.Signal(syscall.SIGCONT)
	t.relieve()
	var lost []time.Time
	for _, a := range t.agents {
		lost = append(lost, a.Said(t.began, "link lost", "cause=timeout")...)
	}
	t.noticed("the agents", lost, links)
	t.settle()
}

// noticed judges when a dead peer was noticed, want times.
func (t *trial) noticed(who string, times []time.Time, want int) {
	var latest time.Duration
	for _, at := range times {
		latest = max(latest, at.Sub(t.began))
	}
	t.Note("%s noticed %d of %d by %s", who, len(times), want, seconds(latest))
	if len(times) < want || latest > 15*time.Second {
		t.Miss("%s noticed %d of %d, the last after %s", who, len(times), want, seconds(latest))
	}
}

// small are the results that the figures are about.
func small(results []result) []result {
	return only(results, func(r *result) bool { return r.job.class != large })
}

func noneFailed(t *trial) { t.judgeNone("of any", small(t.results)) }

// judgeNone tells of those that failed.
func (t *trial) judgeNone(whose string, results []result) {
	if of := tallyOf(results, t.relieved); of.failed > 0 {
		t.Miss("%s, %d of %d failed: %s", whose, of.failed, of.tried, of.why())
	}
}

// noneFailedElsewhere lets the scrapes fail that were on the sockets of the
// replica that died.
func noneFailedElsewhere(t *trial) {
	dead := t.Replicas[0].Name
	own := only(small(t.results), func(r *result) bool { return r.replica == dead && !r.ok() })
	t.Note("on its own sockets %d failed", len(own))
	t.judgeNone("beyond its own sockets", only(small(t.results), func(r *result) bool { return r.ok() || r.replica != dead }))
}

func backSoon(t *trial) {
	of := tallyOf(small(t.results), t.relieved)
	if of.longest > 5*time.Second || of.most > 5*time.Second {
		t.Miss("a target missed for %s; 99 %% back after %s", seconds(of.longest), seconds(of.most))
	}
}
