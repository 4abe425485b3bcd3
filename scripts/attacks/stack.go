package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
	"github.com/farscrape/farscrape/store/storetest"
)

// otherTenant is the tenant of the bystander that is not in the attacker's.
const otherTenant = "other"

// A plan is what a stack is made of, where it differs from two replicas that
// serve all on one port, with one key and one Redis.
type plan struct {
	env     string // of each replica: NAME=value, with spaces between
	split   bool   // scrapers have a port of their own
	noAuth  bool   // and need no token: then there is one tenant
	keyFile bool   // the key is in a file
	tls     bool   // agents come by TLS, which replicas end; with split
	apart   bool   // bystanders are scraped where they are linked, and not over the bus

	certificates bool // agents' certificates count beside their tokens; with tls
}

// A stack is a relay as somebody runs it, with all that is around it.
type stack struct {
	*rig.Stack
	plan    plan
	redis   *storetest.RedisServer
	targets *targetServer
	keys    *token.Keyring
	clients *certtest.Authority // the CA of agents' certificates; nil: none count
	agents  []*agent
	load    []*bystander
	why     error // it did not come up
	broken  bool
}

// An agent is one agent process.
type agent struct {
	*rig.Agent
	name, tenant string
	replica      int // that it is linked to
}

// newStack starts what an attack needs. If it cannot, try says so.
func newStack(ctx context.Context, binaries string, a *attack) *stack {
	s := &stack{Stack: &rig.Stack{Rig: rig.New(ctx, filepath.Join(binaries, a.name)), Build: binaries}, plan: a.plan}
	s.why = rig.Try(s.start)
	s.broken = s.why != nil
	return s
}

func (s *stack) start() {
	s.Must(os.MkdirAll(s.Dir, 0o700))
	var err error
	s.keys, err = token.ParseKeys([]byte(rig.Key))
	s.Must(err)
	s.targets = s.startTargets()
	s.redis = s.StartRedis()
	if s.plan.keyFile {
		s.KeyFile = filepath.Join(s.Dir, "key")
		s.Must(os.WriteFile(s.KeyFile, []byte(rig.Key+"\n"), 0o600))
	}
	s.RelayEnv = append([]string{"FARSCRAPE_MAX_BODY=32MiB", "GOMEMLIMIT=128MiB", "GOGC=400"}, // as deploy/kubernetes has it
		strings.Fields(s.plan.env)...)
	if s.plan.tls {
		s.endTLS()
	}
	stranger := otherTenant
	if s.plan.noAuth {
		stranger = wire.DefaultTenant
		s.RelayEnv = append(s.RelayEnv, "FARSCRAPE_EDGE_AUTH=none")
	}
	for i := range 2 {
		s.startReplica(fmt.Sprintf("r%d", i))
	}
	for _, r := range s.Replicas {
		r.AwaitReady()
	}
	s.startAgent("mate", wire.DefaultTenant, 0)
	s.startAgent("stranger", stranger, 1)
	s.startAgent("victim", wire.DefaultTenant, 0)
	s.Until(rig.Patience, "all agents are linked", s.whole)
	s.startLoad()
}

// endTLS has the replicas end TLS where agents come in.
func (s *stack) endTLS() {
	certtest.New(s, "relay", time.Now().Add(24*time.Hour)).Write(s, s.Dir)
	web := filepath.Join(s.Dir, "web.yaml")
	s.Must(os.WriteFile(web, []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}"), 0o600))
	s.RelayEnv = append(s.RelayEnv, "FARSCRAPE_WEB_CONFIG_FILE="+web)
	if s.plan.certificates {
		s.endTLSFor(web)
	}
}

func (s *stack) startReplica(name string) {
	if !s.plan.split {
		s.StartReplica(name)
		return
	}
	edge := rig.FreePort()
	s.StartReplica(name, "FARSCRAPE_EDGE_LISTEN="+edge).Edge = edge
}

// startAgent starts an honest agent with one link, to that replica.
func (s *stack) startAgent(name, tenant string, to int) {
	a := s.agentOn(s.Stack, name, tenant, s.Replicas[to].Addr, "FARSCRAPE_TARGETS="+s.targets.urls(name))
	a.replica = to
	s.agents = append(s.agents, a)
}

// agentOn starts an agent's process on this stack or on one beside it, which ends it.
func (s *stack) agentOn(on *rig.Stack, name, tenant, relay string, env ...string) *agent {
	url := "http://" + relay
	if s.plan.tls {
		url = "https://" + relay
		env = append(env, "FARSCRAPE_TLS_CA_FILE="+filepath.Join(s.Dir, "cert.pem"))
	}
	all := rig.AgentEnv(name, url, s.mint(token.Claims{Role: token.Agent, Name: name, Tenant: tenant}), "FARSCRAPE_LINKS=1")
	return &agent{Agent: on.StartAgent("agent-"+name, append(all, env...)), name: name, tenant: tenant}
}

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
	for _, r := range s.Replicas {
		links += r.Links()
	}
	return links == len(s.agents)
}
