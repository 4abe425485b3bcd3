package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/scripts/rig"
	"github.com/farscrape/farscrape/store/storetest"
)

// A stack is a relay as somebody runs it: replicas, and Redis behind them if
// there are several.
type stack struct {
	*rig.Stack
	t       testing.TB
	redis   *storetest.RedisServer // nil: embedded store
	scraper string                 // a scraper's token, for all agents
	secrets []string               // are in no log line, see finish
}

// newStack starts n replicas; more than one share a Redis.
func newStack(t testing.TB, n int, env ...string) *stack {
	t.Helper()
	s := &stack{t: t, secrets: []string{rig.Key}, Stack: &rig.Stack{Rig: watched(t), Build: binaries,
		RelayEnv: append([]string{"FARSCRAPE_SD_GRACE=0s", "FARSCRAPE_LOG_LEVEL=debug"}, env...)}}
	s.Cleanup(s.finish)
	if n > 1 {
		s.redis = s.StartRedis()
	}
	s.scraper = s.mint("-scraper", "e2e")
	for i := range n {
		s.StartReplica(fmt.Sprintf("relay %d", i)).AwaitReady()
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
func (s *stack) owner() *rig.Replica { return s.Replicas[0] }
func (s *stack) edge() *rig.Replica  { return s.Replicas[len(s.Replicas)-1] }

// addAgent starts an agent of that name and waits until every replica knows
// it.
func (s *stack) addAgent(name string, env ...string) *rig.Agent {
	s.t.Helper()
	a := s.startAgent(name, env...)
	eventually(s.t, "agent "+name+" is linked", func() error { return s.connected(name, true) })
	return a
}

func (s *stack) startAgent(name string, env ...string) *rig.Agent {
	s.t.Helper()
	all := rig.AgentEnv(name, s.owner().URL(""), s.mint("-agent", name), "FARSCRAPE_LINKS=1", "FARSCRAPE_LOG_LEVEL=debug")
	return s.StartAgent("agent "+name, append(all, env...))
}

// connected reports unless every replica says so of the agent.
func (s *stack) connected(name string, want bool) error {
	for _, r := range s.Replicas {
		a := get(s.t, r.URL("/sd?target=farscrape&agent="+name), "Authorization", "Bearer "+s.scraper)
		if a.StatusCode != 200 || !strings.Contains(string(a.body), fmt.Sprintf(`"__meta_farscrape_connected":"%t"`, want)) {
			return fmt.Errorf("%s lists %s", r.Name, a.body)
		}
	}
	return nil
}

// mint makes a token, which is a secret.
func (s *stack) mint(args ...string) string {
	s.t.Helper()
	token := s.Mint(args...)
	s.secrets = append(s.secrets, token)
	return token
}

// scrape scrapes agent/target through a replica in path mode.
func (s *stack) scrape(r *rig.Replica, path string, header ...string) *answer {
	s.t.Helper()
	return get(s.t, r.URL("/scrape/"+path), append(header, "Authorization", "Bearer "+s.scraper)...)
}

// proxied asks url through a replica, as proxy_url with a password does.
func (s *stack) proxied(r *rig.Replica, target string, header ...string) *answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := plain()
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: r.Edge, User: url.UserPassword("prometheus", s.scraper)})
	return do(s.t, req, client)
}

// finish checks what holds for every test: no secret in any line of output.
func (s *stack) finish() {
	for _, p := range s.Processes() {
		for _, secret := range s.secrets {
			if strings.Contains(p.Output(), secret) {
				s.t.Errorf("%s logs a secret: …%s", p.Name, secret[len(secret)-6:])
			}
		}
	}
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
