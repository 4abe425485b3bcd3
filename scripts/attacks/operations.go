package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/scripts/rig"
)

// otherKey is a key that the relay does not have from the start.
const otherKey = "other-key-0123456789abcdef0123456789abcdef"

// operationAttacks are what those do who run it.
func operationAttacks() []attack {
	filed := plan{keyFile: true}
	taken := func(name, command, setting string) attack {
		return attack{name: "port-in-use-" + name, sent: setting + " is somebody else's port", expected: "exit 1, which names " + setting, run: func(t *trial) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			t.Must(err)
			defer l.Close()
			return t.exits(setting, command, "FARSCRAPE_LISTEN=127.0.0.1:0", setting+"="+l.Addr().String())
		}}
	}
	secret := func(name, command, named string, env ...string) attack {
		return attack{name: "secret-in-" + name, sent: "a bad setting with a password in it", expected: "exit 1, which names " + named, run: func(t *trial) string {
			return t.exits(named, command, env...)
		}}
	}
	keyFile := func(name, sent string, with func(*trial, string)) attack {
		return attack{name: "key-file-" + name, sent: sent, expected: "200 victim/t; named in the log", plan: filed, breaks: true, run: func(t *trial) string {
			with(t, t.stack.KeyFile)
			t.Until(15*time.Second, "a word in the log", func() bool { return t.says("FARSCRAPE_KEY_FILE") != "not in the log" })
			return t.scrape(0, "victim", small).String() + "; " + t.says("FARSCRAPE_KEY_FILE")
		}}
	}
	const relay, agent = "farscrape-relay", "farscrape-agent"
	const dials = "FARSCRAPE_RELAY_URL=http://127.0.0.1:1"
	return []attack{
		taken("listen", relay, "FARSCRAPE_LISTEN"), taken("edge-listen", relay, "FARSCRAPE_EDGE_LISTEN"), taken("ops-listen", relay, "FARSCRAPE_OPS_LISTEN"),
		taken("agent", agent, "FARSCRAPE_LISTEN"),
		secret("public-url", relay, "FARSCRAPE_PUBLIC_URL", "FARSCRAPE_LISTEN=127.0.0.1:0", "FARSCRAPE_PUBLIC_URL=http://me:hunter2@%zz/"),
		secret("redis-url", relay, "FARSCRAPE_REDIS_URL", "FARSCRAPE_LISTEN=127.0.0.1:0", "FARSCRAPE_REDIS_URL=redis://me:hunter2@%zz/"),
		secret("key", relay, "FARSCRAPE_KEY", "FARSCRAPE_LISTEN=127.0.0.1:0", "FARSCRAPE_KEY=hunter2"),
		secret("relay-url", agent, "FARSCRAPE_RELAY_URL", "FARSCRAPE_NAME=a", "FARSCRAPE_TOKEN=x", "FARSCRAPE_RELAY_URL=http://me:hunter2@%zz/"),
		secret("targets", agent, "target a", "FARSCRAPE_NAME=a", "FARSCRAPE_TOKEN=x", dials, "FARSCRAPE_TARGETS=a=http://me:hunter2@%zz/"),
		{name: "origin-form-alone", sent: "ORIGIN_FORM=addresses, and no host that is the relay's", expected: "exit 1, which names FARSCRAPE_OWN_HOSTS", run: func(t *trial) string {
			return t.exits("FARSCRAPE_OWN_HOSTS", relay, "FARSCRAPE_LISTEN=127.0.0.1:0", "FARSCRAPE_ORIGIN_FORM=addresses")
		}},
		{name: "split-listeners", sent: "a scrape, /sd and /metrics where only agents come in", expected: "404 agent_unknown, 404 agent_unknown, 404 agent_unknown", plan: plan{split: true}, run: func(t *trial) string {
			var all []string
			for _, path := range []string{"/scrape/victim/t", "/sd", "/metrics"} {
				all = append(all, t.raw(t.stack.Replicas[0].Addr, t.fill(request("GET "+path, "{auth}"))).String())
			}
			return strings.Join(all, ", ")
		}},
		{name: "sighup", sent: "SIGHUP to a replica and to an agent", expected: "both run; 200 victim/t", run: func(t *trial) string {
			victim := t.stack.agents[2]
			t.stack.Replicas[0].Signal(syscall.SIGHUP)
			victim.Signal(syscall.SIGHUP)
			t.Wait(time.Second)
			if !t.stack.Replicas[0].Runs() || !victim.Runs() {
				return fmt.Sprintf("the replica runs: %v, the agent: %v", t.stack.Replicas[0].Runs(), victim.Runs())
			}
			return "both run; " + t.scrape(0, "victim", small).String()
		}},
		{name: "token-ends", sent: "a token whose time is up in 3 s, while linked", expected: "4007 revoked within 9 s", run: func(t *trial) string {
			text := t.stack.mint(token.Claims{Role: token.Agent, Name: attacker, Expires: time.Now().Add(3 * time.Second)})
			return t.link(0, guise{token: text}).closes(9*time.Second) + " within 9 s"
		}},
		{name: "key-removed", sent: "a key is taken out of KEY_FILE while a link stands by a token of it", expected: "4007 revoked within 12 s; then 401 unauthorized", plan: filed, breaks: true, run: removeKey},
		keyFile("empty", "an empty KEY_FILE", func(t *trial, file string) { t.Must(os.WriteFile(file, nil, 0o600)) }),
		keyFile("short", "a key of 5 bytes in it", func(t *trial, file string) { t.Must(os.WriteFile(file, []byte("short\n"), 0o600)) }),
		keyFile("gone", "no KEY_FILE any more", func(t *trial, file string) { t.Must(os.Remove(file)) }),
		keyFile("of-1GB", "a KEY_FILE of 1 GB", func(t *trial, file string) { t.Must(os.Truncate(file, 1<<30)) }),
		{name: "keys-differ", sent: "a replica with another key comes", expected: "each names the other in its log; both count it", bound: bound{lines: 60}, run: keysDiffer},
		{name: "redis-never", sent: "a replica whose Redis is not there", expected: "not ready: 503", run: func(t *trial) string {
			r := t.own.StartReplica("lonely", "FARSCRAPE_REDIS_URL=redis://127.0.0.1:1")
			r.AwaitListening(r.Addr)
			t.Wait(4 * time.Second)
			resp, err := http.Get("http://" + r.Addr + "/-/ready")
			t.Must(err)
			_ = resp.Body.Close()
			return fmt.Sprintf("not ready: %d", resp.StatusCode)
		}},
		{name: "redis-acl", sent: "a user of Redis who may not PUBLISH", expected: "the log has NOPERM and +publish", run: func(t *trial) string {
			c := t.redis()
			t.Must(c.Do(t.Ctx, "ACL", "SETUSER", "mute", "on", ">secret", "~*", "&*", "+@all", "-publish").Err())
			r := t.own.StartReplica("mute", "FARSCRAPE_REDIS_URL=redis://mute:secret@"+t.stack.redis.Addr())
			if !r.Says(15*time.Second, t.began, "NOPERM", "publish") {
				return "the log does not say"
			}
			return "the log has NOPERM and +publish"
		}},
		{name: "redis-user", sent: "a user whom Redis does not know", expected: "the log has WRONGPASS", run: func(t *trial) string {
			r := t.own.StartReplica("wrong", "FARSCRAPE_REDIS_URL=redis://nobody:secret@"+t.stack.redis.Addr())
			if !r.Says(15*time.Second, t.began, "WRONGPASS") {
				return "the log does not say"
			}
			return "the log has WRONGPASS"
		}},
		{name: "descriptors", sent: "300 connections to a replica that may have 100 descriptors", expected: "200 after they have gone", run: func(t *trial) string {
			r := t.own.StartReplicaBy([]string{"sh", "-c", `ulimit -n 100 && exec "$0"`}, "poor")
			r.AwaitReady()
			var conns []net.Conn
			for range 300 {
				if c, err := net.DialTimeout("tcp", r.Addr, time.Second); err == nil {
					conns = append(conns, c)
				}
			}
			t.Wait(2 * time.Second)
			for _, c := range conns {
				_ = c.Close()
			}
			if _, ok := t.Poll(5*time.Second, func() bool { return r.Runs() && r.Ready() }); !ok {
				return fmt.Sprintf("not ready; runs: %v", r.Runs())
			}
			return "200 after they have gone"
		}},
		{name: "no-inotify", sent: "a replica that can have no watcher for its KEY_FILE", expected: "ready", plan: filed, run: func(t *trial) string {
			r := t.own.StartReplicaBy([]string{"unshare", "--user", "--map-root-user", "sh", "-c", `echo 0 > /proc/sys/user/max_inotify_instances && exec "$0"`}, "unwatched")
			t.Until(rig.Patience, "it listens", func() bool { return rig.Listens(r.Addr) || !r.Runs() })
			t.Wait(time.Second)
			if !r.Runs() || !r.Ready() {
				return fmt.Sprintf("runs: %v", r.Runs())
			}
			return "ready"
		}},
		{name: "stop-while-flooded", sent: "SIGTERM to a replica with 16 agents that read nothing and 64 scrapes that hang", expected: "exit within 10 s", bound: bound{lines: 80}, run: stopWhileFlooded},
		{name: "targets-file", sent: "a TARGETS_FILE that becomes no YAML, a bomb, and is gone", expected: "200 filed/t; the agent runs", run: func(t *trial) string {
			file := filepath.Join(t.Dir, "targets.yml")
			t.Must(os.WriteFile(file, []byte("targets: [{name: t, url: http://"+t.stack.targets.addr+"/filed/t}]"), 0o600))
			a := t.agentAt("filed", t.stack.Replicas[0].Addr, "FARSCRAPE_TARGETS_FILE="+file)
			bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
			for i := 'b'; i < 'k'; i++ {
				bomb += fmt.Sprintf("%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat("*"+string(i-1)+", ", 10), ", "))
			}
			for _, content := range []string{"targets: [", bomb + "targets: *j\n"} {
				t.Must(os.WriteFile(file, []byte(content), 0o600))
				t.Wait(2 * time.Second)
			}
			t.Must(os.Remove(file))
			t.Wait(2 * time.Second)
			if !a.Runs() {
				return "the agent has ended"
			}
			return t.scrape(0, "filed", small).String() + "; the agent runs"
		}},
		{name: "unknown-setting", sent: "a setting that is none", expected: "the log names it", run: func(t *trial) string {
			r := t.own.StartReplica("odd", "FARSCRAPE_LISTEM=x")
			if !r.Says(5*time.Second, t.began, "FARSCRAPE_LISTEM") {
				return "the log does not say"
			}
			return "the log names it"
		}},
	}
}

// exits runs a command that cannot start, and says how it ended and whether it
// names what is wrong, and no password, and did not crash.
func (t *trial) exits(named, command string, env ...string) string {
	ctx, cancel := context.WithTimeout(t.Ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(t.stack.Build, command))
	cmd.Env = append([]string{"HOME=" + t.Dir, "FARSCRAPE_KEY=" + rig.Key, "FARSCRAPE_RELAY_URL=http://127.0.0.1:1", "FARSCRAPE_TOKEN=x", "FARSCRAPE_NAME=a"}, env...)
	out, err := cmd.CombinedOutput()
	said := string(out)
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return "it runs"
	case !ok:
		return fmt.Sprint("exit: ", err)
	case strings.Contains(said, "panic") || strings.Contains(said, "goroutine "):
		return fmt.Sprintf("exit %d, which is a panic", exit.ExitCode())
	case strings.Contains(said, "hunter2"):
		return fmt.Sprintf("exit %d, which tells the password", exit.ExitCode())
	case !strings.Contains(said, named):
		return fmt.Sprintf("exit %d: %q", exit.ExitCode(), said[max(0, len(said)-200):])
	}
	return fmt.Sprintf("exit %d, which names %s", exit.ExitCode(), named)
}

func keysDiffer(t *trial) string {
	r := t.own.StartReplica("other-keyed", "FARSCRAPE_KEY="+otherKey)
	const metric = "farscrape_relay_key_mismatch_replicas"
	here := t.stack.Replicas[0]
	if _, ok := t.Poll(10*time.Second, func() bool { return rig.Metric(here.Ops, metric) == 1 && rig.Metric(r.Ops, metric) == 2 }); !ok {
		return fmt.Sprintf("%s is %v and %v", metric, rig.Metric(here.Ops, metric), rig.Metric(r.Ops, metric))
	}
	if len(here.Said(t.began, "level=WARN", "key")) == 0 || len(r.Said(t.began, "level=WARN", "key")) == 0 {
		return "not in the logs"
	}
	return "each names the other in its log; both count it"
}

// removeKey adds a key, links by it, and takes it away.
func removeKey(t *trial) string {
	file := t.stack.KeyFile
	ring, err := token.ParseKeys([]byte(otherKey))
	t.Must(err)
	text, _, err := ring.Mint(token.Claims{Role: token.Agent, Name: attacker, Expires: time.Now().Add(time.Hour)}, time.Now())
	t.Must(err)
	t.Must(os.WriteFile(file, []byte(rig.Key+"\n"+otherKey+"\n"), 0o600))
	var p *peer
	t.Until(15*time.Second, "a link by the other key", func() bool { p, _ = t.tryLink(0, guise{token: text}); return p != nil })
	t.Must(os.WriteFile(file, []byte(rig.Key+"\n"), 0o600))
	seen := p.closes(12 * time.Second)
	_, then := t.tryLink(0, guise{token: text})
	return seen + " within 12 s; then " + then
}

func stopWhileFlooded(t *trial) string {
	r := t.own.StartReplica("stopping")
	r.AwaitReady()
	for i := range 16 {
		p, seen := t.upgradeAt(r.Addr, guise{name: fmt.Sprintf("deaf-%d", i), deaf: true, mute: true})
		if p == nil {
			t.Fatal(seen)
		}
		p.introduce()
		<-p.welcome
	}
	for i := range 64 {
		conn, err := net.Dial("tcp", r.Addr)
		t.Must(err)
		defer conn.Close()
		_, _ = io.WriteString(conn, t.fill(request(fmt.Sprintf("GET /scrape/deaf-%d/%s", i%16, small), "{auth}", seconds+"60")))
	}
	t.Wait(time.Second)
	if took := r.Stop(); took > 10*time.Second {
		return fmt.Sprintf("exit after %.1f s", took.Seconds())
	}
	return "exit within 10 s"
}
