package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A system is something that stands between the scrapers and the target.
type system struct {
	name      string
	processes []*rig.Process // whose time and memory are counted
	ways      func(*payload) []way
	ours      []ours // replicas and agents, where there are any
	redis     string // its address, where there is one
}

// An ours is one of our own processes, with where it serves its metrics and its
// profiles; empty: nowhere.
type ours struct {
	*rig.Process
	metrics, profiles string
}

const (
	direct  = "direct"
	nginx   = "nginx"
	nethttp = "nethttp"
)

// patience is how long a system may take to come up.
const patience = 30 * time.Second

// systemNames are those that -systems asks for, or all that can be had here.
func (b *bench) systemNames(peers []*peer) []string {
	if b.systems != nil {
		return b.systems
	}
	names := []string{direct}
	if _, err := nginxPath(); err == nil {
		names = append(names, nginx)
	}
	names = append(names, nethttp, "local", "bus")
	for _, p := range peers {
		if p.installed() {
			names = append(names, p.Name)
		}
	}
	return names
}

// besideOf are those of the systems that the others are set beside.
func (b *bench) besideOf(systems []string) []string {
	absent := func(name string) bool { return !slices.Contains(systems, name) }
	if b.beside == nil {
		return slices.DeleteFunc([]string{direct, nginx, "frp"}, absent)
	}
	if i := slices.IndexFunc(b.beside, absent); i >= 0 {
		b.Fatalf("%q takes no part, so nothing can be set beside it", b.beside[i])
	}
	return b.beside
}

// startSystems starts them all; those that are not being asked do next to nothing.
func (b *bench) startSystems(target *targetServer, agents int) []*system {
	peers, err := readPeers()
	b.Must(err)
	var all []*system
	names := b.systemNames(peers)
	b.beside = b.besideOf(names)
	for _, name := range names {
		// local@DIR is of the programs in another folder, such as an older build's.
		kind, binaries, _ := strings.Cut(name, "@")
		b.binaries = cmp.Or(binaries, b.Dir)
		i := slices.IndexFunc(peers, func(p *peer) bool { return p.Name == name })
		switch {
		case name == direct:
			all = append(all, &system{ways: b.toTarget(target.addr)})
		case name == nginx:
			all = append(all, b.startNginx(target))
		case name == nethttp:
			all = append(all, b.startNetHTTP(target))
		case kind == "local":
			all = append(all, b.startLocal(target, agents))
		case kind == "tls":
			all = append(all, b.startTLS(target, agents))
		case kind == "bus":
			all = append(all, b.startBus(target, agents))
		case i >= 0:
			all = append(all, b.startPeer(peers[i], target))
		default:
			b.Fatalf("no system is called %q", name)
		}
		all[len(all)-1].name = name
		b.say("%s is up", name)
	}
	return all
}

// toTarget are the ways to what answers at addr as the target would.
func (b *bench) toTarget(addr string) func(*payload) []way {
	return func(p *payload) []way {
		w, err := through("", "http://"+addr+p.path, "")
		b.Must(err)
		return []way{w}
	}
}

func nginxPath() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/nginx")
}

// nginxConfig is one hop, with connections kept to the next.
const nginxConfig = `
daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 40000;
events { worker_connections 20000; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  keepalive_requests 1000000000;
  proxy_http_version 1.1;
  proxy_read_timeout 75s;
  map $http_upgrade $upgrade { default upgrade; '' ''; }
  proxy_set_header Connection $upgrade;
  proxy_set_header Upgrade $http_upgrade;
  proxy_max_temp_file_size 0;
  upstream next { server %[3]s; keepalive 64; keepalive_requests 1000000000; }
  server { listen %[2]s; %[4]s location / { proxy_pass http://next; } }
}
`

// startHop starts an nginx that passes on to next, and returns its address.
func (b *bench) startHop(name, next, listen, more string) *rig.Process {
	path, err := nginxPath()
	if err != nil {
		b.Fatal("there is no nginx on this machine")
	}
	dir := b.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	b.Must(os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, listen, next, more), 0o600))
	p := b.Start(name, nil, path, "-e", "stderr", "-p", dir, "-c", file)
	b.Cleanup(func() { // killed, it would leave its workers behind
		p.Signal(syscall.SIGTERM)
		for began := time.Now(); p.Runs() && time.Since(began) < 2*time.Second; {
			time.Sleep(10 * time.Millisecond)
		}
	})
	addr, _, _ := strings.Cut(listen, " ")
	b.Until(patience, name+" listens", func() bool { return rig.Listens(addr) })
	return p
}

// startNginx is two hops, as federation over nginx has them.
func (b *bench) startNginx(target *targetServer) *system {
	far, near := b.FreePort(), b.FreePort()
	return &system{ways: b.toTarget(near), processes: []*rig.Process{
		b.startHop("nginx-far", target.addr, far, ""), b.startHop("nginx-near", far, near, ""),
	}}
}

// A replica is one relay on the rig.
type replica struct {
	addr, ops string
	*rig.Process
}

func (b *bench) startReplica(name string, env ...string) *replica {
	r := &replica{addr: b.FreePort(), ops: b.FreePort()}
	env = append([]string{"FARSCRAPE_LISTEN=" + r.addr, "FARSCRAPE_OPS_LISTEN=" + r.ops, "FARSCRAPE_KEY=" + rig.Key, "FARSCRAPE_SD_GRACE=0s",
		"FARSCRAPE_LOG_LEVEL=warn"}, env...)
	r.Process = b.Start(name, env, filepath.Join(b.binaries, "farscrape-relay"))
	b.Until(patience, name+" is ready", func() bool { return rig.Ready(r.addr) })
	return r
}

func (r *replica) ours() ours { return ours{r.Process, r.ops, r.ops} }

// startRedis starts one for the replicas of a system.
func (b *bench) startRedis(name string) (addr string, p *rig.Process) {
	addr = b.FreePort()
	port := addr[strings.LastIndexByte(addr, ':')+1:]
	p = b.Start(name, nil, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", b.TempDir())
	b.Until(patience, name+" listens", func() bool { return rig.Listens(addr) })
	return addr, p
}

// agentEnv is an agent's environment.
func (b *bench) agentEnv(name, relay string, target *targetServer) []string {
	var targets []string
	for _, p := range target.payloads {
		targets = append(targets, p.target()+"=http://"+target.addr+p.path)
	}
	return []string{"FARSCRAPE_RELAY_URL=" + relay, "FARSCRAPE_NAME=" + name, "FARSCRAPE_TOKEN=" + b.Mint(b.Dir, "-agent", "bench-*"),
		"FARSCRAPE_TARGETS=" + strings.Join(targets, ","), "FARSCRAPE_LINKS=1", "FARSCRAPE_LOG_LEVEL=warn"}
}

// agentName is what number i is called.
func agentName(i int) string { return fmt.Sprintf("bench-%d", i) }

// startAgents starts n agents that dial relay: one as released, unless it is to be
// profiled; more in one process.
func (b *bench) startAgents(system string, n int, relay string, target *targetServer, more ...string) ours {
	env := append(b.agentEnv(agentName(0), relay, target), more...)
	name := system + "-agent"
	if n == 1 && b.profile == "" {
		own := b.FreePort()
		return ours{b.Start(name, append(env, "FARSCRAPE_LISTEN="+own), filepath.Join(b.binaries, "farscrape-agent")), own, ""}
	}
	self, err := os.Executable()
	b.Must(err)
	profiles := b.FreePort()
	return ours{b.Start(name, env, self, crowdOfAgents, fmt.Sprint(n), profiles), "", profiles}
}

// linked waits until the replica has n links.
func (b *bench) linked(r *replica, n int) {
	b.Until(patience, fmt.Sprintf("%d agents are linked", n), func() bool { return int(rig.Metric(r.ops, "farscrape_relay_links")) == n })
}

// toAgents are the ways to n agents by a replica.
func (b *bench) toAgents(edge *replica, n int) func(*payload) []way {
	token := "Authorization: Bearer " + b.Mint(b.Dir, "-scraper", "bench") + "\r\n"
	return func(p *payload) []way {
		var all []way
		for i := range n {
			w, err := through("", "http://"+edge.addr+"/scrape/"+agentName(i)+"/"+p.target(), token)
			b.Must(err)
			all = append(all, w)
		}
		return all
	}
}

// startLocal is one replica on the embedded store, with the agents linked to it.
func (b *bench) startLocal(target *targetServer, agents int) *system {
	r := b.startReplica("local-relay")
	agent := b.startAgents("local", agents, "http://"+r.addr, target)
	b.linked(r, agents)
	return &system{processes: []*rig.Process{r.Process, agent.Process}, ways: b.toAgents(r, agents), ours: []ours{r.ours(), agent}}
}

// startTLS is as local, with an nginx that ends TLS before the agents' links.
func (b *bench) startTLS(target *targetServer, agents int) *system {
	r := b.startReplica("tls-relay")
	cert, key := b.certificate()
	front := b.FreePort()
	hop := b.startHop("tls-nginx", r.addr, front+" ssl", "ssl_certificate "+cert+"; ssl_certificate_key "+key+";")
	agent := b.startAgents("tls", agents, "https://"+front, target, "FARSCRAPE_TLS_CA_FILE="+cert)
	b.linked(r, agents)
	return &system{processes: []*rig.Process{hop, r.Process, agent.Process}, ways: b.toAgents(r, agents), ours: []ours{r.ours(), agent}}
}

// startBus is two replicas on a Redis: the agents are linked to one and scraped
// through the other.
func (b *bench) startBus(target *targetServer, agents int) *system {
	addr, redis := b.startRedis("bus-redis")
	url := "FARSCRAPE_REDIS_URL=redis://" + addr
	owner, edge := b.startReplica("bus-owner", url), b.startReplica("bus-edge", url)
	agent := b.startAgents("bus", agents, "http://"+owner.addr, target)
	b.linked(owner, agents)
	return &system{processes: []*rig.Process{redis, owner.Process, edge.Process, agent.Process}, ways: b.toAgents(edge, agents),
		ours: []ours{owner.ours(), edge.ours(), agent}, redis: addr}
}
