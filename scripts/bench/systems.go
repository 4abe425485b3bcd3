package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
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

const (
	direct  = "direct"
	nginx   = "nginx"
	nethttp = "nethttp"
)

// systemNames are those that -systems asks for, or all that can be had here.
func (b *bench) systemNames(peers []*peer) []string {
	if b.systems != nil {
		return b.systems
	}
	names := []string{direct}
	if _, err := rig.Find(nginx); err == nil {
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
		b.Build, b.RedisURL = cmp.Or(binaries, b.Dir), ""
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
		case kind == "own-tls":
			all = append(all, b.startOwnTLS(target, agents))
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
	path, err := rig.Find(nginx)
	if err != nil {
		b.Fatal("there is no nginx on this machine")
	}
	dir := b.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	b.Must(os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, listen, next, more), 0o600))
	p := b.Start(name, nil, path, "-e", "stderr", "-p", dir, "-c", file)
	b.Cleanup(func() { // killed, it would leave its workers behind
		p.Signal(syscall.SIGTERM)
		rig.Poll(context.Background(), 2*time.Second, func() bool { return !p.Runs() })
	})
	addr, _, _ := strings.Cut(listen, " ")
	p.AwaitListening(addr)
	return p
}

// startTLSHop is startHop with the certificate in a folder.
func (b *bench) startTLSHop(name, next, listen, dir string) *rig.Process {
	return b.startHop(name, next, listen+" ssl", "ssl_certificate "+dir+"/cert.pem; ssl_certificate_key "+dir+"/key.pem;")
}

// startNginx is two hops, as federation over nginx has them.
func (b *bench) startNginx(target *targetServer) *system {
	far, near := rig.FreePort(), rig.FreePort()
	return &system{ways: b.toTarget(near), processes: []*rig.Process{
		b.startHop("nginx-far", target.addr, far, ""), b.startHop("nginx-near", far, near, ""),
	}}
}
