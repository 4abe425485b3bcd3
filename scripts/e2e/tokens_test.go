package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// Every credential that is not quite right is refused with the status that says
// how.
func TestScrapersAreToldWhatIsWrongWithTheirToken(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		target := says(t, "up 1")
		port := target.URL[strings.LastIndex(target.URL, ":")+1:]
		s.addAgent("edge-1", "FARSCRAPE_TARGETS=app="+target.URL+"/metrics")
		other := s.mint("-scraper", "p", "-tenant", "other")
		core := s.mint("-scraper", "p", "-agents", "core-*")
		expired := s.mint("-scraper", "p", "-ttl", "1s")
		time.Sleep(1100 * time.Millisecond) // until it has expired, by the clock that other processes have too
		for name, c := range map[string]struct {
			token  string
			status int
			reason string
		}{
			"good":               {s.scraper, 200, ""},
			"for these agents":   {s.mint("-scraper", "p", "-agents", "edge-*"), 200, ""},
			"none":               {"", 401, "unauthorized"},
			"garbage":            {"garbage", 401, "unauthorized"},
			"alg none":           {"eyJhbGciOiJub25lIn0.eyJhdWQiOiJmYXJzY3JhcGUiLCJyb2xlIjoic2NyYXBlciIsInN1YiI6InAifQ.", 401, "unauthorized"},
			"expired":            {expired, 401, "unauthorized"},
			"an agent's":         {s.mint("-agent", "edge-1"), 403, "forbidden"},
			"of another tenant":  {other, 404, "agent_unknown"},
			"for other agents":   {core, 404, "agent_unknown"},
			"signed with no key": {s.scraper[:len(s.scraper)-4] + "AAAA", 401, "unauthorized"},
		} {
			t.Run(name, func(t *testing.T) {
				var header []string
				if c.token != "" {
					header = []string{"Authorization", "Bearer " + c.token}
				}
				got := get(t, s.edge().URL("/scrape/edge-1/app"), header...)
				if got.StatusCode != c.status || got.reason() != c.reason {
					t.Errorf("path mode: %d %s", got.StatusCode, got.body)
				}
				p := *s
				p.scraper = c.token
				status := c.status
				if status == 401 {
					status = 407
				}
				if got := p.proxied(s.edge(), "http://edge-1:"+port+"/metrics"); got.StatusCode != status || got.reason() != c.reason {
					t.Errorf("proxy mode: %d %s", got.StatusCode, got.body)
				}
			})
		}
		for _, page := range []string{"/sd", "/clients", "/api/v1/agents", "/api/v1/events", "/metrics/agents"} {
			for name, tok := range map[string]string{"another tenant": other, "other agents": core} {
				got := get(t, s.edge().URL(page), "Authorization", "Bearer "+tok)
				if got.StatusCode != 200 || strings.Contains(string(got.body), "edge-1") {
					t.Errorf("%s shows %s: %d %s", page, name, got.StatusCode, got.body)
				}
			}
			if got := get(t, s.edge().URL(page), "Authorization", "Bearer "+s.scraper); !strings.Contains(string(got.body), "edge-1") {
				t.Errorf("%s: %d %s", page, got.StatusCode, got.body)
			}
			if got := get(t, s.edge().URL(page)); got.StatusCode != 401 {
				t.Errorf("%s to anybody: %d", page, got.StatusCode)
			}
		}
	})
}

// Agents are told in their own log what is wrong, and keep trying.
func TestAgentsAreToldWhatIsWrongWithTheirToken(t *testing.T) {
	s := newStack(t, 1)
	live := s.addAgent("edge-1", "FARSCRAPE_TARGETS=app="+says(t, "the first 1").URL+"/metrics")
	for name, c := range map[string]struct{ token, says string }{
		"a scraper's":         {s.scraper, "scraper"},
		"for another name":    {s.mint("-agent", "other"), "does not allow"},
		"outside the pattern": {s.mint("-agent", "core-*"), "does not allow"},
		"garbage":             {"garbage", "not one of this relay's"},
		"a glob, name in use": {s.mint("-agent", "edge-*"), "name_taken"},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.startAgent("edge-1", "FARSCRAPE_TOKEN="+c.token, "FARSCRAPE_TARGETS=app="+says(t, "the second 1").URL+"/metrics")
			eventually(t, "the agent says why", func() error {
				if !strings.Contains(p.Output(), c.says) {
					return fmt.Errorf("no word of %q in:\n%s", c.says, p.Output())
				}
				return nil
			})
			if !p.Runs() && name != "a scraper's" { // which no relay will ever take
				t.Error("it gave up")
			}
			p.Kill()
			if got := s.scrape(s.edge(), "edge-1/app"); string(got.body) != "the first 1\n" {
				t.Errorf("the live agent was displaced: %d %s", got.StatusCode, got.body)
			}
		})
	}
	if strings.Contains(live.Output(), "superseded") {
		t.Error("the live agent was closed")
	}
}

// A replica that others can reach does not start unprotected, and says what to
// do.
func TestARelayRefusesToStartUnprotected(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		says string
	}{
		"reached by others":    {[]string{"FARSCRAPE_LISTEN=0.0.0.0:0"}, "FARSCRAPE_KEY_FILE"},
		"PORT":                 {[]string{"PORT=0"}, "FARSCRAPE_KEY_FILE"},
		"with Redis":           {[]string{"FARSCRAPE_LISTEN=127.0.0.1:0", "FARSCRAPE_REDIS_URL=redis://127.0.0.1:1"}, "FARSCRAPE_KEY_FILE"},
		"EDGE_LISTEN":          {[]string{"FARSCRAPE_LISTEN=127.0.0.1:0", "FARSCRAPE_EDGE_LISTEN=0.0.0.0:0"}, "FARSCRAPE_KEY_FILE"},
		"a short key":          {[]string{"FARSCRAPE_KEY=short"}, "at least 32"},
		"none, for everybody":  {[]string{"FARSCRAPE_KEY=" + rig.Key, "FARSCRAPE_EDGE_AUTH=none"}, "FARSCRAPE_EDGE_LISTEN"},
		"a number that is not": {[]string{"FARSCRAPE_MAX_BODY=lots"}, "FARSCRAPE_MAX_BODY"},
		"a bad Redis URL":      {[]string{"FARSCRAPE_KEY=" + rig.Key, "FARSCRAPE_REDIS_URL=redis://user:hunter2@host:port"}, "FARSCRAPE_REDIS_URL"},
		"a long Redis prefix":  {[]string{"FARSCRAPE_KEY=" + rig.Key, "FARSCRAPE_REDIS_URL=redis://127.0.0.1:1", "FARSCRAPE_REDIS_PREFIX=" + strings.Repeat("p", 2000)}, "FARSCRAPE_REDIS_PREFIX: longer than 1024 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "relay", c.env, filepath.Join(binaries, "farscrape-relay"))
			status, ended := p.Exit(rig.Patience)
			if !ended {
				t.Fatal("it runs")
			}
			if status != 1 || !strings.Contains(p.Output(), c.says) || strings.Count(p.Output(), "\n") > 3 {
				t.Errorf("exit %d: %s", status, p.Output())
			}
			for _, secret := range []string{rig.Key, "hunter2"} {
				if strings.Contains(p.Output(), secret) {
					t.Errorf("it tells a secret: %s", p.Output())
				}
			}
		})
	}
}

// Keys change without a restart: the new one signs, the old one still checks,
// until it is gone.
func TestKeysRotate(t *testing.T) {
	s := newStack(t, 1)
	file := writeFile(t, "keys", rig.Key+"\n")
	s.KeyFile = file
	p := s.StartReplica("relay with a key file")
	p.AwaitReady()
	status := func() int { return get(t, p.URL("/sd"), "Authorization", "Bearer "+s.scraper).StatusCode }
	if got := status(); got != 200 {
		t.Fatalf("%d", got)
	}
	const newKey = "another-key-0123456789abcdef0123456789abcdef"
	change := func(text string, logs string) {
		t.Helper()
		before := strings.Count(p.Output(), logs)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the relay says "+logs, func() error {
			if strings.Count(p.Output(), logs) == before {
				return fmt.Errorf("not yet: %s", p.Output())
			}
			return nil
		})
	}
	change(newKey+"\n"+rig.Key+"\n", "keys changed")
	if got := status(); got != 200 {
		t.Errorf("with both keys: %d", got)
	}
	change("short\n", "last good keys stay")
	if got := status(); got != 200 {
		t.Errorf("after a bad edit: %d", got)
	}
	change(newKey+"\n", "keys changed")
	if got := status(); got != 401 {
		t.Errorf("without its key: %d", got)
	}
}

// The commands' own words.
func TestHelpAndVersion(t *testing.T) {
	for _, c := range []string{"farscrape-relay", "farscrape-agent"} {
		for flag, want := range map[string]string{"-help": "FARSCRAPE_LOG_LEVEL", "-version": "\n"} {
			out, err := exec.Command(filepath.Join(binaries, c), flag).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s %s: %v %s", c, flag, err, out)
			}
		}
		if out, err := exec.Command(filepath.Join(binaries, c), "nonsense").CombinedOutput(); err == nil || !strings.Contains(string(out), "nonsense") {
			t.Errorf("%s nonsense: %v %s", c, err, out)
		}
	}
}
