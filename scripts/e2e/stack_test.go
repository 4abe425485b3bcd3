package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/store/storetest"
)

// key signs the tokens of every stack. It is in no log line, see finish.
const key = "e2e-key-0123456789abcdef0123456789abcdef"

// A stack is a relay as somebody runs it: replicas, and Redis behind them if
// there are several.
type stack struct {
	t       testing.TB
	redis   *storetest.RedisServer // nil: embedded store
	relays  []*relayProcess
	agents  []*process
	scraper string // a scraper's token, for all agents
	secrets []string
}

type relayProcess struct {
	*process
	addr string // of LISTEN
	ops  string // of OPS_LISTEN
}

// newStack starts n replicas; more than one share a Redis.
func newStack(t testing.TB, n int, env ...string) *stack {
	t.Helper()
	s := &stack{t: t, secrets: []string{key}}
	if n > 1 {
		s.redis = storetest.StartRedis(t)
	}
	s.scraper = s.mint("-scraper", "e2e")
	t.Cleanup(s.finish)
	for range n {
		s.addRelay(env...)
	}
	return s
}

// onBoth runs a test on the embedded store and on two replicas with Redis. The
// agents link to the first replica; scrapes go through the last.
func onBoth(t *testing.T, f func(t *testing.T, s *stack), env ...string) {
	for name, n := range map[string]int{"embedded": 1, "redis": 2} {
		t.Run(name, func(t *testing.T) { f(t, newStack(t, n, env...)) })
	}
}

// owner is the replica that agents link to, edge the one that is scraped.
func (s *stack) owner() *relayProcess { return s.relays[0] }
func (s *stack) edge() *relayProcess  { return s.relays[len(s.relays)-1] }

func (s *stack) addRelay(env ...string) *relayProcess {
	s.t.Helper()
	r := &relayProcess{addr: freePort(s.t), ops: freePort(s.t)}
	all := []string{"FARSCRAPE_LISTEN=" + r.addr, "FARSCRAPE_OPS_LISTEN=" + r.ops, "FARSCRAPE_KEY=" + key, "FARSCRAPE_SD_GRACE=0s", "FARSCRAPE_LOG_LEVEL=debug"}
	if s.redis != nil {
		all = append(all, "FARSCRAPE_REDIS_URL="+s.redis.URL())
	}
	r.process = start(s.t, fmt.Sprintf("relay %d", len(s.relays)), append(all, env...), filepath.Join(binaries, "farscrape-relay"))
	eventually(s.t, "relay is ready", func() error { return ready(r.addr) })
	s.relays = append(s.relays, r)
	return r
}

func ready(addr string) error {
	resp, err := http.Get("http://" + addr + "/-/ready")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("ready is %s", resp.Status)
	}
	return nil
}

// addAgent starts an agent of that name and waits until every replica knows
// it.
func (s *stack) addAgent(name string, env ...string) *process {
	s.t.Helper()
	p := s.startAgent(name, env...)
	eventually(s.t, "agent "+name+" is linked", func() error { return s.connected(name, true) })
	return p
}

func (s *stack) startAgent(name string, env ...string) *process {
	s.t.Helper()
	all := []string{
		"FARSCRAPE_RELAY_URL=http://" + s.owner().addr, "FARSCRAPE_NAME=" + name, "FARSCRAPE_TOKEN=" + s.mint("-agent", name),
		"FARSCRAPE_LINKS=1", "FARSCRAPE_LOG_LEVEL=debug",
	}
	p := start(s.t, "agent "+name, append(all, env...), filepath.Join(binaries, "farscrape-agent"))
	s.agents = append(s.agents, p)
	return p
}

// connected reports unless every replica says so of the agent.
func (s *stack) connected(name string, want bool) error {
	for _, r := range s.relays {
		a := get(s.t, r.url("/sd?target=farscrape&agent="+name), "Authorization", "Bearer "+s.scraper)
		if a.StatusCode != 200 || !strings.Contains(string(a.body), fmt.Sprintf(`"__meta_farscrape_connected":"%t"`, want)) {
			return fmt.Errorf("%s lists %s", r.name, a.body)
		}
	}
	return nil
}

func (r *relayProcess) url(path string) string { return "http://" + r.addr + path }

// mint runs farscrape-relay token.
func (s *stack) mint(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(binaries, "farscrape-relay"), append([]string{"token"}, args...)...)
	cmd.Env = []string{"FARSCRAPE_KEY=" + key}
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("token %v: %v", args, err)
	}
	t := strings.TrimSpace(string(out))
	s.secrets = append(s.secrets, t)
	return t
}

// scrape scrapes agent/target through a replica in path mode.
func (s *stack) scrape(r *relayProcess, path string, header ...string) *answer {
	s.t.Helper()
	return get(s.t, r.url("/scrape/"+path), append(header, "Authorization", "Bearer "+s.scraper)...)
}

// proxied asks url through a replica, as proxy_url with a password does.
func (s *stack) proxied(r *relayProcess, target string, header ...string) *answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := plain()
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: r.addr, User: url.UserPassword("prometheus", s.scraper)})
	return do(s.t, req, client)
}

// finish checks what holds for every test: no secret in any line of output.
func (s *stack) finish() {
	for _, p := range s.processes() {
		for _, secret := range s.secrets {
			if strings.Contains(p.output(), secret) {
				s.t.Errorf("%s logs a secret: …%s", p.name, secret[len(secret)-6:])
			}
		}
	}
}

func (s *stack) processes() []*process {
	all := append([]*process(nil), s.agents...)
	for _, r := range s.relays {
		all = append(all, r.process)
	}
	return all
}

// writeFile writes a file that lives as long as the test.
func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// figure tells a measurement.
func figure(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Logf("figure: "+format, args...)
}
