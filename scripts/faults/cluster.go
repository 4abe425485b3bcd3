package main

import (
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// clusterFaults happen to a Redis Cluster of three masters and one replica.
func clusterFaults() []fault {
	pinned := plan{agents: pinnedAgents(4), jobs: localAndRemote, cluster: true}
	plain := plan{cluster: true, agents: withEnv(standardAgents(), "FARSCRAPE_LINKS=1"), relayEnv: []string{"FARSCRAPE_REDIS_PUBSUB=plain"}}
	return []fault{
		{name: "cluster-master-lost", figure: "back ≤ 2 s of the new master", inject: loseMaster, judge: remoteBack, plan: pinned},
		{name: "cluster-failover", figure: "local 0 failed; remote back ≤ 2 s", inject: promote, judge: remoteBack, plan: pinned},
		{name: "cluster-slots-moved", figure: "local 0 failed; remote back ≤ 2 s", inject: moveInboxes, judge: remoteBack, plan: pinned},
		{name: "cluster-to-sharded", figure: "0 failed", inject: goSharded, judge: noneFailed, plan: plain},
	}
}

// moveInboxes moves the slots of all inboxes, one after the other.
func moveInboxes(t *trial) {
	all := t.cluster.Masters
	for _, inbox := range rig.Inboxes(t.cluster) {
		owner := t.cluster.Owner(inbox)
		t.cluster.MoveSlot(inbox, all[owner], all[(owner+1)%len(all)])
		t.Wait(2 * time.Second)
	}
	t.over()
}

// strikeFirstMaster has the first master, whose turn it is, hold all inboxes: else
// chance would decide how many of them the fault meets.
func (t *trial) strikeFirstMaster() {
	all := t.cluster.Masters
	for _, inbox := range rig.Inboxes(t.cluster) {
		if owner := t.cluster.Owner(inbox); owner != 0 {
			t.cluster.MoveSlot(inbox, all[owner], all[0])
		}
	}
	t.Wait(3 * time.Second) // the buses are back
	t.strike()
}

func loseMaster(t *trial) {
	t.strikeFirstMaster()
	t.cluster.Masters[0].Kill()
	t.relieved = t.promoted(t.cluster.Replica)
	t.Note("the new master came after %s", seconds(t.relieved.Sub(t.began)))
	t.Wait(10 * time.Second)
}

// promote has the first master change places with its replica, as an operator does.
func promote(t *trial) {
	t.strikeFirstMaster()
	t.cluster.Promote()
	t.Note("the new master came after %s", milliseconds(time.Since(t.began)))
	t.over()
}

// goSharded restarts one replica after the other, to send by sharded pub/sub what went
// by plain one.
func goSharded(t *trial) {
	counts := t.countRoutes()
	for _, r := range t.Replicas {
		counts.leave(r)
		r.Stop()
		r.SetEnv("FARSCRAPE_REDIS_PUBSUB=sharded")
		t.again(r)
		t.Wait(2 * time.Second)
	}
	t.settle()
	for _, r := range t.Replicas {
		counts.leave(r)
		if n := rig.Metric(r.Ops, "farscrape_relay_bus_sharded_replicas"); int(n) != len(t.Replicas)-1 {
			t.Miss("%s sends to %.0f replicas by sharded pub/sub", r.Name, n)
		}
	}
	t.Note("by the replicas: %s", counts)
}
