package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/scripts/rig"
)

// An ours is one of our own processes, with where it serves its metrics and its
// profiles; empty: nowhere.
type ours struct {
	*rig.Process
	metrics, profiles string
}

// startReplica starts one of the system that is being started.
func (b *bench) startReplica(name string, env ...string) *rig.Replica {
	r := b.StartReplica(name, env...)
	r.AwaitReady()
	return r
}

func oursOf(r *rig.Replica) ours { return ours{r.Process, r.Ops, r.Ops} }

// agentName is what number i is called.
func agentName(i int) string { return fmt.Sprintf("bench-%d", i) }

// startAgents starts n agents that dial relay: one as released, unless it is to be
// profiled; more in one process.
func (b *bench) startAgents(system string, n int, relay string, target *targetServer, more ...string) ours {
	env := append(rig.AgentEnv(agentName(0), relay, b.Mint("-agent", "bench-*"),
		"FARSCRAPE_TARGETS="+target.declared(), "FARSCRAPE_LINKS=1", "FARSCRAPE_LOG_LEVEL=warn"), more...)
	name := system + "-agent"
	if n == 1 && b.profile == "" {
		a := b.StartAgent(name, env)
		return ours{a.Process, a.Ops, ""}
	}
	self, err := os.Executable()
	b.Must(err)
	profiles := rig.FreePort()
	return ours{b.Start(name, env, self, crowdOfAgents, fmt.Sprint(n), profiles), "", profiles}
}

// linked waits until the replica has n links.
func (b *bench) linked(r *rig.Replica, n int) {
	b.Until(rig.Patience, fmt.Sprintf("%d agents are linked", n), func() bool { return r.Links() == n })
}

// toAgents are the ways to n agents by a replica.
func (b *bench) toAgents(edge *rig.Replica, n int) func(*payload) []way {
	token := "Authorization: Bearer " + b.Mint("-scraper", "bench") + "\r\n"
	return func(p *payload) []way {
		var all []way
		for i := range n {
			w, err := through("", edge.URL("/scrape/"+agentName(i)+"/"+p.target()), token)
			b.Must(err)
			all = append(all, w)
		}
		return all
	}
}

// startLocal is one replica on the embedded store, with the agents linked to it.
func (b *bench) startLocal(target *targetServer, agents int) *system {
	r := b.startReplica("local-relay")
	agent := b.startAgents("local", agents, r.URL(""), target)
	b.linked(r, agents)
	return &system{processes: []*rig.Process{r.Process, agent.Process}, ways: b.toAgents(r, agents), ours: []ours{oursOf(r), agent}}
}

// startTLS is as local, with an nginx that ends TLS before the agents' links.
func (b *bench) startTLS(target *targetServer, agents int) *system {
	r := b.startReplica("tls-relay")
	dir := b.certificate()
	front := rig.FreePort()
	hop := b.startTLSHop("tls-nginx", r.Addr, front, dir)
	agent := b.startAgents("tls", agents, "https://"+front, target, "FARSCRAPE_TLS_CA_FILE="+dir+"/cert.pem")
	b.linked(r, agents)
	return &system{processes: []*rig.Process{hop, r.Process, agent.Process}, ways: b.toAgents(r, agents), ours: []ours{oursOf(r), agent}}
}

// startOwnTLS is as tls, but that the relay ends it itself.
func (b *bench) startOwnTLS(target *targetServer, agents int) *system {
	dir, edge := b.certificate(), rig.FreePort()
	r := b.startReplica("own-tls-relay", "FARSCRAPE_EDGE_LISTEN="+edge, b.endTLS(dir))
	r.Edge = edge
	agent := b.startAgents("own-tls", agents, "https://"+r.Addr, target, "FARSCRAPE_TLS_CA_FILE="+dir+"/cert.pem")
	b.linked(r, agents)
	return &system{processes: []*rig.Process{r.Process, agent.Process}, ways: b.toAgents(r, agents), ours: []ours{oursOf(r), agent}}
}

// endTLS has a replica show the certificate in a folder where agents come in.
func (b *bench) endTLS(dir string) (env string) {
	web := filepath.Join(dir, "web.yaml")
	b.Must(os.WriteFile(web, []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}"), 0o600))
	return "FARSCRAPE_WEB_CONFIG_FILE=" + web
}

// certificate makes one that signs itself, and its key, in a folder.
func (b *bench) certificate() (dir string) {
	dir = b.TempDir()
	certtest.New(b, "relay", time.Now().Add(24*time.Hour)).Write(b, dir)
	return dir
}

// startBus is two replicas on a Redis: the agents are linked to one and scraped
// through the other.
func (b *bench) startBus(target *targetServer, agents int) *system {
	addr, redis := b.startRedis("bus-redis")
	owner, edge := b.startReplica("bus-owner"), b.startReplica("bus-edge")
	agent := b.startAgents("bus", agents, owner.URL(""), target)
	b.linked(owner, agents)
	return &system{processes: []*rig.Process{redis, owner.Process, edge.Process, agent.Process}, ways: b.toAgents(edge, agents),
		ours: []ours{oursOf(owner), oursOf(edge), agent}, redis: addr}
}
