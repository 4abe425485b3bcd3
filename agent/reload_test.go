package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestATargetsFileIsTakenWhenItChangesAndIsGood(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		io.WriteString(w, r.URL.Path+" "+user)
	}))
	defer target.Close()
	file := filepath.Join(t.TempDir(), "targets.yml")
	replace := func(content string) {
		t.Helper()
		writeFile(t, file+".new", strings.ReplaceAll(content, "$target", target.URL))
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	replace("targets: [{name: one, url: $target/1}]")
	relay, server := relayOn(t, nil)
	a := run(t, Config{RelayURL: server.URL, Token: "x", TargetsFile: file}, Options{})
	l := relay.link()
	l.welcome(1)
	ask := func(name string) *reply {
		t.Helper()
		return l.reply(l.request(name, func(q *wire.Request) { q.Remaining = 10 * time.Second }))
	}
	if r := ask("one"); string(r.body) != "/1 " {
		t.Errorf("one said %q", r.body)
	}

	replace("targets: [{name: one, url: $target/1}, {name: two, url: $target/2}]")
	if targets := l.expectTargets(); len(targets) != 3 || targets[2].Name != "two" {
		t.Errorf("declared %+v", targets)
	}
	if r := ask("two"); string(r.body) != "/2 " {
		t.Errorf("two said %q", r.body)
	}

	replace("targets: [{name: one, uri: x}]")
	eventually(t, a, "farscrape_agent_targets_last_reload_successful 0")
	if r := ask("two"); string(r.body) != "/2 " {
		t.Errorf("after a bad edit two said %q", r.body)
	}

	// A password, or the order, is not the relay's business: it hears nothing of this.
	replace("targets: [{name: two, url: $target/2, basic_auth: {username: u}}, {name: one, url: $target/1}]")
	for string(ask("two").body) != "/2 u" {
	}
	replace("targets: [{name: two, url: $target/2, basic_auth: {username: v}}, {name: one, url: $target/1}]")
	for string(ask("two").body) != "/2 v" {
	}

	replace("targets: [{name: one, url: $target/1}]")
	if targets := l.expectTargets(); len(targets) != 2 {
		t.Errorf("declared %+v", targets)
	}
	if r := ask("two"); r.reason() != wire.TargetNotDeclared {
		t.Errorf("what is declared no more: %v", r.reason())
	}
	if got := metricLines(t, a, "farscrape_agent_scrapes_total"); strings.Contains(got, `"two"`) || !strings.Contains(got, `"one"`) {
		t.Errorf("counted %s", got)
	}
}

// eventually waits for a line of the agent's metrics.
func eventually(t *testing.T, a *Agent, line string) {
	t.Helper()
	name, _, _ := strings.Cut(line, " ")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if strings.Contains(metricLines(t, a, name), line) {
			return
		}
	}
	t.Fatalf("never %s", line)
}

func TestListen(t *testing.T) {
	relay, server := relayOn(t, nil)
	out := new(syncBuffer)
	run(t, Config{RelayURL: server.URL, Token: "x", Listen: "127.0.0.1:0"}, Options{Logger: logTo(out)})
	relay.link()
	_, rest, _ := strings.Cut(out.String(), "msg=listening")
	_, address, _ := strings.Cut(rest, "address=")
	address, _, _ = strings.Cut(address, "\n")
	resp, err := http.Get("http://" + address + "/-/healthy")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	a, err := New(Config{RelayURL: server.URL, Token: "x", Name: "edge-1", Links: 1, Listen: address}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_LISTEN") {
		t.Errorf("an address in use: %v", err)
	}
}
