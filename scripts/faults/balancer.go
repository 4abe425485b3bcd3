package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/farscrape/farscrape/scripts/rig"
)

// replicaHeader is where the balancer says which replica a scrape went to; on
// its own error pages too.
const replicaHeader = "X-Replica"

// balancerConfig is HAProxy's: one address for agents and scrapes, as users
// have it. It tries again where no connection came about, and nothing else. A
// health check a second, down at the second failure, is quicker than HAProxy's
// default and still blind for two seconds. An agent goes to the less busy of two
// replicas drawn at random: leastconn sends it to the one that it holds already
// for as long as that has the fewest links. A replica that says nothing for longer
// than any scrape may take is given up, so that the error page names it.
const balancerConfig = `
global
  fd-hard-limit 20000
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 75s
  timeout server 7s
  timeout tunnel 1h
  timeout check 1s
  retries 3
  option redispatch 1
  option httpchk GET /-/ready
  default-server check inter 1s fall 2 rise 1
frontend all
  bind %s
  http-after-response set-header X-Replica %%[srv_name]
  use_backend agents if { path /agent/connect }
  default_backend scrapes
backend agents
  balance random
%sbackend scrapes
  balance roundrobin
%s`

// tlsBalancerConfig is one that passes TLS on as it is, and so knows neither agents
// from scrapes nor one answer from the next.
const tlsBalancerConfig = `
global
  fd-hard-limit 20000
  nbthread 1
defaults
  mode tcp
  timeout connect 1s
  timeout client 75s
  timeout server 75s
  timeout tunnel 1h
  timeout check 1s
  retries 3
  option redispatch 1
  option httpchk GET /-/ready
  default-server check check-ssl verify none inter 1s fall 2 rise 1
listen all
  bind %s
  balance random
%s`

// A balancer is an HAProxy before the replicas.
type balancer struct {
	addr string
	*rig.Process
}

func (s *stack) startBalancer(replicas []*rig.Replica) *balancer {
	bin, err := rig.Find("haproxy")
	s.Must(err)
	var checked, tracked strings.Builder
	for _, r := range replicas {
		fmt.Fprintf(&checked, "  server %s %s\n", r.Name, r.Addr)
		fmt.Fprintf(&tracked, "  server %s %s no-check track agents/%s\n", r.Name, r.Addr, r.Name)
	}
	l := &balancer{addr: rig.FreePort()}
	file := filepath.Join(s.Dir, "haproxy.cfg")
	config := fmt.Sprintf(balancerConfig, l.addr, checked.String(), tracked.String())
	if s.tls != nil {
		config = fmt.Sprintf(tlsBalancerConfig, l.addr, checked.String())
	}
	s.Must(os.WriteFile(file, []byte(config), 0o600))
	l.Process = s.Start("haproxy", nil, bin, "-db", "-f", file)
	l.AwaitListening(l.addr)
	return l
}
