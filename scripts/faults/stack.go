package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/scripts/rig"
	"github.com/farscrape/farscrape/store/storetest"
)

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
	fleet             int  // and in a fleet
	keyFile           bool // replicas read their key from a file
	before            bool // starts on the build before, which must be there
	tls               bool // replicas end it, and whoever comes to them speaks it
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
	*rig.Stack // of the build that it starts on
	builds     builds
	plan       plan
	redis      *storetest.RedisServer
	sentinel   *storetest.RedisSentinel
	cluster    *storetest.RedisCluster
	redisLine  *line
	balancer   *balancer
	targets    *targetServer
	agents     []*agent
	crowd      *rig.Crowd // nil: none
	fleet      *fleet     // nil: none
	token      string     // a scraper's
	tls        *tlsFiles  // nil: plain HTTP
}

// An agent is one agent process.
type agent struct {
	*rig.Agent
	plan agentPlan
	line *line // nil: none
}

func newStack(on *rig.Rig, of builds, p plan) *stack {
	s := &stack{Stack: &rig.Stack{Rig: on, Build: of.now, RelayEnv: p.relayEnv}, builds: of, plan: p}
	if p.before {
		s.Build = of.before
	}
	if p.tls {
		s.tls = s.newTLSFiles()
		s.RelayEnv = append(s.RelayEnv, "FARSCRAPE_WEB_CONFIG_FILE="+s.tls.web)
	}
	s.token = s.Mint("-scraper", "faults")
	if p.keyFile {
		s.KeyFile = filepath.Join(s.Dir, "key")
		s.setKeys(rig.Key, newKey)
		s.token = s.mintBy(newKey, token.Claims{Role: token.Scraper, Name: "faults"}, time.Now())
	}
	s.targets = s.startTargets()
	s.startRedis()
	for i := range 3 {
		s.StartReplica(fmt.Sprintf("r%d", i)).AwaitReady()
	}
	s.balancer = s.startBalancer(s.Replicas)
	for _, a := range p.agents {
		s.startAgent(a)
	}
	if p.crowd > 0 {
		s.startCrowd(p.crowd)
	}
	if p.fleet > 0 {
		s.startFleet(p.fleet)
	}
	return s
}

// startRedis starts what the plan says, marked as not emptied just now: it was
// in 1970. A Redis that comes back empty lacks the mark.
func (s *stack) startRedis() {
	switch {
	case s.plan.sentinel:
		s.sentinel = storetest.StartSentinel(s.Rig)
		s.redis, s.RedisURL = s.sentinel.Master, s.sentinel.URL()
		s.Seed(s.redis)
	case s.plan.cluster:
		s.cluster = storetest.StartCluster(s.Rig)
		for _, m := range s.cluster.Masters {
			s.Seed(m)
		}
		s.RedisURL = s.cluster.URL()
	default:
		s.redis = s.StartRedis()
	}
	if s.plan.redisLine {
		s.redisLine = s.startLine(s.redis.Addr())
		s.RedisURL = "redis://" + s.redisLine.addr
	}
}

// again runs a replica that was stopped or killed.
func (s *stack) again(r *rig.Replica) {
	r.Run()
	r.AwaitReady()
}

func (s *stack) startAgent(p agentPlan) *agent {
	a := &agent{plan: p}
	to := s.balancer.addr
	if p.pinned {
		to = s.Replicas[p.to].Addr
	}
	if p.line {
		a.line = s.startLine(to)
		to = a.line.addr
	}
	process := "agent-" + p.name
	if p.twin {
		process += "-twin"
	}
	env := rig.AgentEnv(p.name, s.scheme()+to, s.Mint("-agent", p.name), "FARSCRAPE_TARGETS="+s.targets.urls(p.name, standardTargets()))
	if s.tls != nil {
		env = append(env, "FARSCRAPE_TLS_CA_FILE="+s.tls.trusted)
	}
	a.Agent = s.StartAgent(process, append(env, p.env...))
	s.agents = append(s.agents, a)
	return a
}

// linked waits until every agent has all its links. A replica that came first
// tells its agents for a while that it is alone; what they want is not asked.
func (s *stack) linked() {
	s.Until(rig.Patience, "all agents have their links", s.whole)
}

// whole reports whether every agent has all its links.
func (s *stack) whole() bool {
	want, have := 0, 0
	for _, a := range s.agents {
		want += a.plan.links()
		have += a.Links()
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
