package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
	"github.com/farscrape/farscrape/store/storetest"
)

// patience is how long is waited for what should happen at once.
const patience = 30 * time.Second

// otherTenant is the tenant of the bystander that is not in the attacker's.
const otherTenant = "other"

// A plan is what a stack is made of, where it differs from two replicas that
// serve all on one port, with one key and one Redis.
type plan struct {
	env     string // of each replica: NAME=value, with spaces between
	split   bool   // scrapers have a port of their own
	noAuth  bool   // and need no token: then there is one tenant
	keyFile bool   // the key is in a file
	apart   bool   // bystanders are scraped where they are linked, and not over the bus
}

// A stack is a relay as somebody runs it, with all that is around it.
type stack struct {
	*rig.Rig
	binaries string
	plan     plan
	redis    *storetest.RedisServer
	replicas []*replica
	targets  *targetServer
	keys     *token.Keyring
	agents   []*agent
	load     []*bystander
	why      string // it did not come up
	broken   bool
}

// A replica is one relay process.
type replica struct {
	addr string // where agents come in
	edge string // where scrapers do
	ops  string
	*rig.Process
}

// An agent is one agent process.
type agent struct {
	name, tenant string
	replica      int // that it is linked to
	ops          string
	*rig.Process
}

// newStack starts what an attack needs. If it cannot, try says so.
func newStack(ctx context.Context, binaries string, a *attack) (s *stack) {
	s = &stack{binaries: binaries, plan: a.plan}
	dir := filepath.Join(binaries, a.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.why = err.Error()
	}
	s.Rig = rig.New(ctx, dir)
	defer func() {
		if p := recover(); p != nil {
			why, ok := p.(rig.Broken)
			if !ok {
				panic(p)
			}
			s.why, s.broken = why.Why, true
		}
	}()
	s.start()
	return s
}

func (s *stack) start() {
	var err error
	s.keys, err = token.ParseKeys([]byte(rig.Key))
	s.Must(err)
	s.targets = s.startTargets()
	s.redis = storetest.StartRedis(s.Rig)
	s.Seed(s.redis)
	if s.plan.keyFile {
		s.Must(os.WriteFile(s.keyFile(), []byte(rig.Key+"\n"), 0o600))
	}
	for i := range 2 {
		s.replicas = append(s.replicas, s.startReplica(fmt.Sprintf("r%d", i), s.redis.URL()))
	}
	for _, r := range s.replicas {
		s.Until(patience, r.Name+" is ready", func() bool { return rig.Ready(r.addr) })
	}
	stranger := otherTenant
	if s.plan.noAuth {
		stranger = wire.DefaultTenant
	}
	s.startAgent("mate", wire.DefaultTenant, 0)
	s.startAgent("stranger", stranger, 1)
	s.startAgent("victim", wire.DefaultTenant, 0)
	s.Until(patience, "all agents are linked", s.whole)
	s.startLoad()
}

func (s *stack) keyFile() string { return filepath.Join(s.Dir, "key") }

// startReplica starts one, and does not wait until it is ready.
func (s *stack) startReplica(name, redisURL string, extra ...string) *replica {
	r := &replica{addr: s.FreePort(), ops: s.FreePort()}
	env := []string{"FARSCRAPE_LISTEN=" + r.addr, "FARSCRAPE_OPS_LISTEN=" + r.ops,
		"FARSCRAPE_REDIS_URL=" + redisURL, "FARSCRAPE_MAX_BODY=32MiB",
		"GOMEMLIMIT=128MiB", "GOGC=400"} // as deploy/kubernetes has it
	if s.plan.keyFile {
		env = append(env, "FARSCRAPE_KEY_FILE="+s.keyFile())
	} else {
		env = append(env, "FARSCRAPE_KEY="+rig.Key)
	}
	r.edge = r.addr
	if s.plan.split {
		r.edge = s.FreePort()
		env = append(env, "FARSCRAPE_EDGE_LISTEN="+r.edge)
	}
	if s.plan.noAuth {
		env = append(env, "FARSCRAPE_EDGE_AUTH=none")
	}
	env = append(append(env, strings.Fields(s.plan.env)...), extra...)
	r.Process = s.Start(name, env, filepath.Join(s.binaries, "farscrape-relay"))
	return r
}

// startAgent starts an honest agent with one link, to that replica.
func (s *stack) startAgent(name, tenant string, to int) {
	a := s.agentProcess(s.Rig, name, tenant, s.replicas[to].addr, "FARSCRAPE_TARGETS="+s.targets.urls(name))
	a.replica = to
	s.agents = append(s.agents, a)
}

// agentProcess starts an agent's process on a rig, which ends it.
func (s *stack) agentProcess(on *rig.Rig, name, tenant, relay string, env ...string) *agent {
	a := &agent{name: name, tenant: tenant, ops: on.FreePort()}
	env = append([]string{"FARSCRAPE_RELAY_URL=http://" + relay, "FARSCRAPE_NAME=" + name, "FARSCRAPE_LISTEN=" + a.ops,
		"FARSCRAPE_LINKS=1", "FARSCRAPE_TOKEN=" + s.mint(token.Claims{Role: token.Agent, Name: name, Tenant: tenant})}, env...)
	a.Process = on.Start("agent-"+name, env, filepath.Join(s.binaries, "farscrape-agent"))
	return a
}

func (a *agent) links() int { return int(rig.Metric(a.ops, "farscrape_agent_links")) }

// mint makes a token for a year, unless the claims say when it ends.
func (s *stack) mint(c token.Claims) string {
	if c.Expires.IsZero() {
		c.Expires = time.Now().Add(365 * 24 * time.Hour)
	}
	t, _, err := s.keys.Mint(c, time.Now())
	s.Must(err)
	return t
}

// scraperToken is a scraper's of that tenant.
func (s *stack) scraperToken(tenant string) string {
	return s.mint(token.Claims{Role: token.Scraper, Name: "attacks", Tenant: tenant})
}

// whole reports whether every honest agent has its link, and nobody else has one.
// Replicas are asked: an agent that was told to move, since one replica had more
// than its share, does not count a link that it keeps for want of another.
func (s *stack) whole() bool {
	links := 0
	for _, r := range s.replicas {
		links += int(rig.Metric(r.ops, "farscrape_relay_links"))
	}
	return links == len(s.agents)
}
