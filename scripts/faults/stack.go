package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
	"github.com/farscrape/farscrape/store/storetest"
)

// patience is how long the campaign waits for what should happen at once.
const patience = 30 * time.Second

// A plan is what a fault's stack is made of, where it differs from three
// replicas, six agents with two links through the balancer, and one Redis.
type plan struct {
	sentinel, cluster bool     // the Redis behind it
	redisLine         bool     // replicas reach Redis over a line
	relayEnv          []string // of each replica
	agents            []agentPlan
	timeout           time.Duration // of scrapes; default 5 s
	sdEvery           time.Duration // between two looks at /sd; default 500 ms
	jobs              func(*stack) []job
	restless          bool // links come and go all the time
	crowd             int  // agents in a crowd, besides
	before            bool // starts on the build before, which must be there
}

// An agentPlan is one agent.
type agentPlan struct {
	name   string
	env    []string
	pinned bool // dials replica number to directly, and not the balancer
	to     int
	line   bool // dials over a line of its own
	twin   bool // of the same name as the one before it, and its targets
}

func standardAgents() []agentPlan {
	var all []agentPlan
	for i := range 6 {
		all = append(all, agentPlan{name: fmt.Sprintf("a%d", i)})
	}
	return all
}

// builds are the folders of the commands.
type builds struct {
	now    string
	before string // of the build before; empty: none is there
}

// A stack is a relay as somebody runs it, with all that is around it.
type stack struct {
	*rig.Rig
	builds    builds
	plan      plan
	redis     *storetest.RedisServer
	sentinel  *storetest.RedisSentinel
	cluster   *storetest.RedisCluster
	redisLine *line
	replicas  []*replica
	balancer  *balancer
	targets   *targetServer
	agents    []*agent
	crowd     *rig.Crowd // nil: none
	token     string     // a scraper's
}

// A replica is one relay process, by its address: it may be several, one after
// the other.
type replica struct {
	addr, ops string
	*rig.Process
}

// An agent is one agent process.
type agent struct {
	plan agentPlan
	ops  string
	line *line // nil: none
	*rig.Process
}

func newStack(b *rig.Rig, of builds, p plan) *stack {
	s := &stack{Rig: b, builds: of, plan: p}
	s.token = s.Mint(s.first(), "-scraper", "faults")
	s.targets = s.startTargets()
	url := s.startRedis()
	for i := range 3 {
		s.startReplica(fmt.Sprintf("r%d", i), url)
	}
	s.balancer = s.startBalancer(s.replicas)
	for _, a := range p.agents {
		s.startAgent(a)
	}
	if p.crowd > 0 {
		s.startCrowd(p.crowd)
	}
	return s
}

// first is the build that the stack starts on.
func (s *stack) first() string {
	if s.plan.before {
		return s.builds.before
	}
	return s.builds.now
}

// startRedis starts what the plan says, marked as not emptied just now: it was
// in 1970. A Redis that comes back empty lacks the mark.
func (s *stack) startRedis() (url string) {
	switch {
	case s.plan.sentinel:
		s.sentinel = storetest.StartSentinel(s.Rig)
		s.redis = s.sentinel.Master
		url = s.sentinel.URL()
	case s.plan.cluster:
		s.cluster = storetest.StartCluster(s.Rig)
		for _, m := range s.cluster.Masters {
			s.Seed(m)
		}
		return s.cluster.URL()
	default:
		s.redis = storetest.StartRedis(s.Rig)
		url = s.redis.URL()
	}
	s.Seed(s.redis)
	if s.plan.redisLine {
		s.redisLine = s.startLine(s.redis.Addr())
		url = "redis://" + s.redisLine.addr
	}
	return url
}

func (s *stack) startReplica(name, redisURL string) {
	r := &replica{addr: s.FreePort(), ops: s.FreePort()}
	env := append([]string{"FARSCRAPE_LISTEN=" + r.addr, "FARSCRAPE_OPS_LISTEN=" + r.ops,
		"FARSCRAPE_KEY=" + rig.Key, "FARSCRAPE_REDIS_URL=" + redisURL}, s.plan.relayEnv...)
	r.Process = s.Start(name, env, filepath.Join(s.first(), "farscrape-relay"))
	s.Until(patience, name+" is ready", r.ready)
	s.replicas = append(s.replicas, r)
}

// again runs a replica that was stopped or killed.
func (s *stack) again(r *replica) {
	r.Run()
	s.Until(patience, r.Name+" is ready", r.ready)
}

func (r *replica) ready() bool { return rig.Ready(r.addr) }

func (s *stack) startAgent(p agentPlan) *agent {
	a := &agent{plan: p, ops: s.FreePort()}
	to := s.balancer.addr
	if p.pinned {
		to = s.replicas[p.to].addr
	}
	if p.line {
		a.line = s.startLine(to)
		to = a.line.addr
	}
	env := append([]string{
		"FARSCRAPE_RELAY_URL=http://" + to, "FARSCRAPE_NAME=" + p.name, "FARSCRAPE_LISTEN=" + a.ops,
		"FARSCRAPE_TOKEN=" + s.Mint(s.first(), "-agent", p.name), "FARSCRAPE_TARGETS=" + s.targets.urls(p.name, standardTargets()),
	}, p.env...)
	name := "agent-" + p.name
	if p.twin {
		name += "-twin"
	}
	a.Process = s.Start(name, env, filepath.Join(s.first(), "farscrape-agent"))
	s.agents = append(s.agents, a)
	return a
}

// linked waits until every agent has all its links. A replica that came first
// tells its agents for a while that it is alone; what they want is not asked.
func (s *stack) linked() {
	s.Until(patience, "all agents have their links", s.whole)
}

// whole reports whether every agent has all its links.
func (s *stack) whole() bool {
	want, have := 0, 0
	for _, a := range s.agents {
		want += a.plan.links()
		have += int(rig.Metric(a.ops, "farscrape_agent_links"))
	}
	return have == want
}

// links is how many links an agent keeps.
func (p *agentPlan) links() int {
	if p.pinned || slices.Contains(p.env, "FARSCRAPE_LINKS=1") {
		return 1
	}
	return 2
}

// agentNames are the names that discovery must list.
func (s *stack) agentNames() []string {
	var all []string
	for _, a := range s.plan.agents {
		if !a.twin {
			all = append(all, a.name)
		}
	}
	return all
}

func (s *stack) processes() []*rig.Process {
	var all []*rig.Process
	for _, r := range s.replicas {
		all = append(all, r.Process)
	}
	for _, a := range s.agents {
		all = append(all, a.Process)
	}
	return all
}
