package main

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/farscrape/farscrape/scripts/rig"
)

func crowdFaults() []fault {
	mixed := append(pinnedAgents(3), agentPlan{name: "a3"}, agentPlan{name: "a4"})
	storm := plan{agents: mixed, jobs: pastBalancer, sdEvery: 3 * time.Second, crowd: 5000, relayEnv: []string{"FARSCRAPE_LOG_LEVEL=warn"}}
	return []fault{
		{name: "links-reset", figure: "all back ≤ 30 s; other links go on", short: true, inject: resetLinks, judge: otherLinksGoOn,
			plan: storm},
		{name: "all-replicas-killed", figure: "all back ≤ 30 s; no replica refuses scrapes", inject: killAll, judge: noneRefused, plan: storm},
		{name: "fd-exhaustion", figure: "no exit; recovers", inject: exhaust, judge: recovered},
	}
}

// pastBalancer scrapes past the balancer, which this fault kills: every agent
// through a replica that does not hold it alone, and some of the crowd.
func pastBalancer(s *stack) []job {
	jobs := s.jobs("", func(a *agent) (string, string) {
		r := s.Replicas[(a.plan.to+1)%len(s.Replicas)]
		return r.Addr, r.Name
	})
	for i := range 40 {
		r := s.Replicas[i%len(s.Replicas)]
		jobs = append(jobs, job{agent: rig.CrowdName(i), target: crowdTarget(), via: r.Addr, name: r.Name, class: crowdTarget().class})
	}
	return jobs
}

// crowdTarget is what each of a crowd's agents has.
func crowdTarget() target {
	return target{name: rig.CrowdTarget, size: 500, every: time.Second, class: "crowd"}
}

// startCrowd starts n agents that dial the balancer, and waits for them.
func (s *stack) startCrowd(n int) {
	s.crowd = s.StartCrowd(n, s.balancer.addr, nil, []string{s.Mint("-agent", "crowd-*")}, func(agent string) []byte {
		t := crowdTarget()
		return rig.Body(agent, t.name, s.targets.sequence.Add(1), t.size)
	})
	s.Until(2*rig.Patience, "the crowd is linked", s.crowd.Whole)
}

// resetLinks kills the balancer, and with it every link that goes through it;
// another stands in its place at once.
func resetLinks(t *trial) {
	t.balancer.Kill()
	t.balancer.Run()
	t.balancer.AwaitListening(t.balancer.addr)
	t.crowdReturns()
}

// killAll kills all replicas at once, as a bad deployment does, and starts them
// again.
func killAll(t *trial) {
	for _, r := range t.Replicas {
		r.Kill()
	}
	for _, r := range t.Replicas {
		r.Run()
	}
	for _, r := range t.Replicas {
		r.AwaitReady()
	}
	t.crowdReturns()
}

// crowdReturns judges how long all agents take to come back.
func (t *trial) crowdReturns() {
	all := int64(t.crowd.Size)
	dials, putOff := t.crowd.Dials.Load(), t.crowd.PutOff.Load()
	if _, ok := t.Poll(2*time.Second, func() bool { return t.crowd.Linked.Load() < all }); !ok {
		t.Miss("no link was reset")
	}
	_, ok := t.Poll(60*time.Second, func() bool { return t.crowd.Linked.Load() == all && t.whole() })
	took := time.Since(t.began)
	t.Note("%d of %d links back after %s, with %d dials, of which %d were put off", t.crowd.Linked.Load(), all, seconds(took),
		t.crowd.Dials.Load()-dials, t.crowd.PutOff.Load()-putOff)
	if !ok || took > 30*time.Second {
		t.Miss("not all links were back within 30 s")
	}
	t.Wait(5 * time.Second)
}

// noneRefused lets scrapes fail for want of a link, and for nothing else.
func noneRefused(t *trial) {
	for _, reason := range []string{"overloaded", "too_many_scrapes", "draining", "internal"} {
		if of := tallyOf(t.results, t.relieved); of.reasons[reason] > 0 {
			t.Miss("%d scrapes were %s", of.reasons[reason], reason)
		}
	}
	t.judgeNone("after 30 s", only(t.results, func(r *result) bool { return r.start.After(t.began.Add(30 * time.Second)) }))
}

// otherLinksGoOn wants the agents unharmed whose links do not go through the
// balancer, and all back in time.
func otherLinksGoOn(t *trial) {
	pinned := map[string]bool{}
	for _, a := range t.agents {
		pinned[a.plan.name] = a.plan.pinned
	}
	t.judgeNone("of agents whose links were not reset", only(small(t.results), func(r *result) bool { return pinned[r.job.agent] }))
	late := only(t.results, func(r *result) bool { return r.start.After(t.began.Add(30 * time.Second)) })
	t.judgeNone("after 30 s", small(late))
}

// exhaust leaves a replica no descriptor to spare while clients connect, for
// ten seconds.
func exhaust(t *trial) {
	r := t.Replicas[0]
	var before unix.Rlimit
	t.Must(unix.Prlimit(r.PID(), unix.RLIMIT_NOFILE, nil, &before))
	none := before
	none.Cur = uint64(r.Descriptors())
	t.Must(unix.Prlimit(r.PID(), unix.RLIMIT_NOFILE, &none, nil))
	var waiting []net.Conn
	for range 100 {
		if conn, err := net.DialTimeout("tcp", r.Addr, time.Second); err == nil {
			waiting = append(waiting, conn)
		}
	}
	t.Wait(outage)
	t.Must(unix.Prlimit(r.PID(), unix.RLIMIT_NOFILE, &before, nil))
	for _, conn := range waiting {
		_ = conn.Close()
	}
	t.over()
	if !r.Runs() {
		t.Miss("the replica exited")
		r.Signal(syscall.SIGKILL)
		return
	}
	r.AwaitReady()
	t.linked()
}

func recovered(t *trial) {
	if of := tallyOf(small(t.results), t.relieved); of.most > 5*time.Second {
		t.Miss("99 %% were back only after %s", seconds(of.most))
	}
}
