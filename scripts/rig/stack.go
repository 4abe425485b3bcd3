package rig

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/farscrape/farscrape/store/storetest"
)

// Key signs the tokens of every stack, unless replicas are told another.
const Key = "rig-key-0123456789abcdef0123456789abcdef"

// A Stack is Farscrape as somebody runs it: replicas with one key and one store,
// and agents that dial them.
type Stack struct {
	*Rig
	Build    string   // the folder of the commands
	KeyFile  string   // where replicas read their key; empty: it is in their environment
	RedisURL string   // empty: every replica has its embedded store
	RelayEnv []string // of every replica
	Replicas []*Replica
}

// A Replica is one relay process. It may be several, one after the other.
type Replica struct {
	*Process
	Addr string // where agents come in
	Edge string // where scrapers do
	Ops  string
}

// An Agent is one agent process.
type Agent struct {
	*Process
	Ops string
}

// StartRedis starts a Redis for the replicas to come.
func (s *Stack) StartRedis() *storetest.RedisServer {
	server := storetest.StartRedis(s.Rig)
	s.Seed(server)
	s.RedisURL = server.URL()
	return server
}

// StartReplica starts one more, and does not wait until it is ready. Of what env
// sets again the last holds.
func (s *Stack) StartReplica(name string, env ...string) *Replica {
	return s.StartReplicaBy(nil, name, env...)
}

// StartReplicaBy starts one by another command, whose last argument is the replica's.
func (s *Stack) StartReplicaBy(command []string, name string, env ...string) *Replica {
	r := &Replica{Addr: FreePort(), Ops: FreePort()}
	r.Edge = r.Addr
	all := []string{"FARSCRAPE_LISTEN=" + r.Addr, "FARSCRAPE_OPS_LISTEN=" + r.Ops}
	if s.RedisURL != "" {
		all = append(all, "FARSCRAPE_REDIS_URL="+s.RedisURL)
	}
	if s.KeyFile != "" {
		all = append(all, "FARSCRAPE_KEY_FILE="+s.KeyFile)
	} else {
		all = append(all, "FARSCRAPE_KEY="+Key)
	}
	all = append(append(all, s.RelayEnv...), env...)
	command = append(command, s.relay())
	r.Process = s.Start(name, all, command[0], command[1:]...)
	s.Replicas = append(s.Replicas, r)
	return r
}

func (s *Stack) relay() string { return filepath.Join(s.Build, "farscrape-relay") }

// AgentEnv is the environment of an agent of that name, which dials a URL with a
// token.
func AgentEnv(name, url, token string, more ...string) []string {
	return append([]string{"FARSCRAPE_NAME=" + name, "FARSCRAPE_RELAY_URL=" + url, "FARSCRAPE_TOKEN=" + token}, more...)
}

// StartAgent starts an agent with that environment, and does not wait until it is
// linked.
func (s *Stack) StartAgent(process string, env []string) *Agent {
	a := &Agent{Ops: FreePort()}
	a.Process = s.Start(process, append(env, "FARSCRAPE_LISTEN="+a.Ops), filepath.Join(s.Build, "farscrape-agent"))
	return a
}

// Mint runs farscrape-relay token.
func (s *Stack) Mint(args ...string) string {
	cmd := exec.Command(s.relay(), append([]string{"token"}, args...)...)
	cmd.Env = []string{"FARSCRAPE_KEY=" + Key}
	out, err := cmd.Output()
	s.Must(err)
	return strings.TrimSpace(string(out))
}

// Revoke runs farscrape-relay revoke on the stack's Redis, and returns what it says.
func (s *Stack) Revoke(args ...string) (said string, err error) {
	cmd := exec.Command(s.relay(), append([]string{"revoke"}, args...)...)
	cmd.Env = []string{"FARSCRAPE_REDIS_URL=" + s.RedisURL}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, &errs)
	}
	return string(out), err
}

// URL is that of one of the replica's pages.
func (r *Replica) URL(path string) string { return "http://" + r.Edge + path }

// Ready reports whether the replica is. What agents and scrapers come by may speak TLS.
func (r *Replica) Ready() bool { return Ready(r.Ops) }

// AwaitReady waits until the replica is.
func (r *Replica) AwaitReady() {
	r.rig.Helper()
	r.rig.Until(Patience, r.Name+" is ready", r.Ready)
}

// Links is how many the replica holds.
func (r *Replica) Links() int { return int(Metric(r.Ops, "farscrape_relay_links")) }

// Links is how many the agent holds.
func (a *Agent) Links() int { return int(Metric(a.Ops, "farscrape_agent_links")) }

// CollectGarbage has the replica do it, before its memory is measured.
func (r *Replica) CollectGarbage() {
	if resp, err := http.Get("http://" + r.Ops + "/debug/pprof/heap?gc=1"); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// Ready reports whether what listens at addr is.
func Ready(addr string) bool {
	resp, err := http.Get("http://" + addr + "/-/ready")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// generations is more marks than the store draws; see store/doc.go. On a
// Cluster they lie on several masters.
const generations = 16

// Seed gives a new Redis the marks of one that was emptied in 1970, so that the
// replicas need not wait out their 45 s of doubt.
func (r *Rig) Seed(server *storetest.RedisServer) {
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2, DisableIdentity: true})
	defer client.Close()
	for i := range generations {
		err := client.Set(context.Background(), fmt.Sprintf("farscrape:generation:%d", i), "rig 1", 0).Err()
		if err != nil && !strings.HasPrefix(err.Error(), "MOVED") {
			r.Must(err)
		}
	}
}
