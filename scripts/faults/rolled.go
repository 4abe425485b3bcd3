package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// rolledFaults are updates: from the build before to this one and back, in both
// orders. The two builds stand side by side the whole time.
func rolledFaults() []fault {
	relaysFirst := func(t *trial) { t.rollThereAndBack((*trial).rollReplicas, (*trial).rollAgents) }
	agentsFirst := func(t *trial) { t.rollThereAndBack((*trial).rollAgents, (*trial).rollReplicas) }
	mixed := plan{before: true, agents: sharedAgents()}
	sharding := mixed // while they change from plain pub/sub to sharded
	sharding.cluster = true
	return []fault{
		{name: "rolled-relays-first", figure: "0 failed", short: true, inject: relaysFirst, judge: noneFailed, plan: mixed},
		{name: "rolled-agents-first", figure: "0 failed", inject: agentsFirst, judge: noneFailed, plan: mixed},
		{name: "rolled-on-cluster", figure: "0 failed", inject: relaysFirst, judge: noneFailed, plan: sharding},
	}
}

// sharedAgents are three names with two agents each: one that is restarted by
// itself loses the scrapes of that time, and this is how users roll them.
func sharedAgents() []agentPlan {
	var all []agentPlan
	for i := range 3 {
		name := fmt.Sprintf("a%d", i)
		all = append(all, agentPlan{name: name}, agentPlan{name: name, twin: true})
	}
	return withEnv(all, "FARSCRAPE_SHARED=true")
}

// spread is how long agents may take to their second link: the balancer sends them
// to the replica that came last, and so has the fewest links, again and again,
// though they hold it already, and they dial ever more rarely.
const spread = 2 * time.Minute

// rollThereAndBack rolls to this build, and then to the one before: what a build
// takes at rest is compared with itself.
func (t *trial) rollThereAndBack(steps ...func(*trial, string)) {
	for _, build := range []string{t.builds.now, t.builds.before} {
		for _, roll := range steps {
			roll(t, build)
			t.Until(spread, "all agents have all their links", t.whole)
			t.Wait(2 * time.Second)
		}
	}
	t.Wait(3 * time.Second)
}

// rollReplicas replaces one replica after the other, the next as soon as the
// balancer can have seen that the last is back.
func (t *trial) rollReplicas(build string) {
	for _, r := range t.Replicas {
		r.Stop()
		r.Replace(filepath.Join(build, "farscrape-relay"))
		t.again(r)
		t.Wait(2 * time.Second)
	}
}

// rollAgents replaces one agent after the other, the next when the last is ready,
// as whoever rolls them would: its second link may take longer.
func (t *trial) rollAgents(build string) {
	for _, a := range t.agents {
		a.Stop()
		a.Replace(filepath.Join(build, "farscrape-agent"))
		a.Run()
		t.Until(rig.Patience, a.Name+" is ready", func() bool { return rig.Ready(a.Ops) })
		t.Wait(time.Second)
	}
}
