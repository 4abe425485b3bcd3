package agent

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// targetsOf are the targets that an environment and a file declare.
func targetsOf(t *testing.T, env, file, labels string) (*targetSet, error) {
	t.Helper()
	c := Config{Targets: env}
	if file != "" {
		c.TargetsFile = filepath.Join(t.TempDir(), "targets.yml")
		for path, content := range map[string]string{c.TargetsFile: file, filepath.Join(filepath.Dir(c.TargetsFile), "password"): "s3cret"} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := parseLabels(labels)
	if err != nil {
		return nil, err
	}
	declared, err := c.declarations()
	if err != nil {
		return nil, err
	}
	return newTargetSet(declared, all, ownTarget(nil, all), nil, new(net.Dialer).DialContext)
}

func TestTargetsOfTheEnvironmentAndTheFileAreOneList(t *testing.T) {
	set, err := targetsOf(t, "node=http://localhost:9100/metrics, app=https://app.internal/*", `
targets:
  - name: fed
    url: http://prometheus:9090/federate?match[]=up
    address: fed.internal:9090
    labels: {site: paris, job: federate}
    max_inflight: 3
    basic_auth: {username: u, password_file: password}
    tls_config: {insecure_skip_verify: true}
`, "site=berlin,env=prod")
	if err != nil {
		t.Fatal(err)
	}
	if len(set.declared) != 4 {
		t.Fatalf("declared %+v", set.declared)
	}
	node, app, fed, own := set.declared[0], set.declared[1], set.declared[2], set.declared[3]
	if node.Name != "node" || node.Port != 9100 || node.Path != "/metrics" || node.Scheme != "http" || node.Labels["site"] != "berlin" || node.Labels["env"] != "prod" {
		t.Errorf("node is %+v", node)
	}
	if app.Port != 443 || app.Path != "/" || !app.Subtree || app.Scheme != "https" {
		t.Errorf("app is %+v", app)
	}
	if fed.Address != "fed.internal:9090" || fed.Path != "/federate" || fed.Labels["site"] != "paris" || fed.Labels["env"] != "prod" || fed.Labels["job"] != "federate" {
		t.Errorf("fed is %+v", fed)
	}
	if own.Name != wire.OwnTarget || own.Port != 0 || own.Scheme != "" || own.Path != "/metrics" || own.Labels["site"] != "berlin" {
		t.Errorf("the agent's own is %+v", own)
	}
	if f := set.find("fed"); f.maxInflight != 3 || !filepath.IsAbs(f.http.BasicAuth.PasswordFile) {
		t.Errorf("fed is %+v", f)
	}
}

// Discovery lists a target unless it says listed: false, and a subtree only if it
// says listed: true.
func TestATargetSaysWhetherItIsListed(t *testing.T) {
	set, err := targetsOf(t, "node=http://h:1/metrics,tree=http://h:2/*", `
targets:
- {name: blackbox, url: "http://h:9115/probe", listed: false}
- {name: plain, url: "http://h:3/"}
- {name: said, url: "http://h:4/", listed: true}
- {name: hidden, url: "http://h:5/*", listed: false}
- {name: shown, url: "http://h:6/*", listed: true}
`, "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"node": true, "tree": false, "blackbox": false, "plain": true, "said": true, "hidden": false, "shown": true, wire.OwnTarget: true}
	frames, err := wire.MarshalTargets(set.declared) // as the relay sees them
	if err != nil {
		t.Fatal(err)
	}
	var list wire.TargetParts
	whole, err := list.Add(frames[0].Payload)
	if err != nil || !whole {
		t.Fatalf("whole: %v, %v", whole, err)
	}
	told, err := list.Take()
	if err != nil || told.Len() != len(want) {
		t.Fatalf("told of %d targets, %v", told.Len(), err)
	}
	for _, target := range told.All() {
		if got := target.Discoverable(); got != want[target.Name] {
			t.Errorf("%s listed: %v", target.Name, got)
		}
	}
}

func TestTheTargetsFileMayBeJSON(t *testing.T) {
	set, err := targetsOf(t, "", `{"targets": [{"name": "a", "url": "http://h:1/", "labels": {"x": "y"}}]}`, "")
	if err != nil || set.find("a") == nil {
		t.Errorf("got %v, %v", set, err)
	}
}

func TestABadTargetListIsRefusedWithItsReason(t *testing.T) {
	for _, c := range []struct{ what, env, file, labels, want string }{
		{"twice in the environment", "a=http://h/,a=http://i/", "", "", "declared twice"},
		{"twice in both", "a=http://h/", "targets: [{name: a, url: 'http://i/'}]", "", "declared twice"},
		{"our own name", "farscrape=http://h/", "", "", "choose another"},
		{"no name", "=http://h/", "", "", "name"},
		{"a bad name", "a/b=http://h/", "", "", "name"},
		{"no URL", "a", "", "", "FARSCRAPE_TARGETS: entry 1"},
		{"a comma in a URL", "a=http://h/?x=1,2", "", "", "%2C"},
		{"another scheme", "a=file://etc/passwd", "", "", "must be http"},
		{"a password", "a=http://u:s3cret@h/", "", "", "basic_auth"},
		{"a fragment", "a=http://h/#x", "", "", "#"},
		{"port 0", "a=http://h:0/", "", "", "port"},
		{"a large port", "a=http://h:70000/", "", "", "port"},
		{"dot segments", "a=http://h/x/../y", "", "", "write the path as /y"},
		{"two slashes", "a=http://h//y", "", "", "write the path as /y"},
		{"a bad label", "a=http://h/", "", "9=x", "label name"},
		{"our label", "a=http://h/", "", "agent=x", "agent"},
		{"a label twice", "a=http://h/", "", "x=1,x=2", "FARSCRAPE_LABELS"},
		{"an unknown field, with its line", "", "targets:\n- name: a\n  url: http://h/\n  paswrd: x", "", `line 4: unknown key "paswrd"`},
		{"an unknown field at the top", "", "target: []", "", `line 1: unknown key "target"`},
		{"no YAML", "", "targets: [", "", "line 1"},
		{"a wrong type", "", "targets:\n- name: a\n  url: http://h/\n  max_inflight: s3cret", "", "line 4: there is a text where a whole number belongs"},
		{"listed, or not", "", "targets: [{name: a, url: 'http://h/', listed: perhaps}]", "", "line 1: there is a text where true or false belongs"},
		{"a negative limit", "", "targets: [{name: a, url: 'http://h/', max_inflight: -1}]", "", "max_inflight"},
		{"a bad address", "", "targets: [{name: a, url: 'http://h/', address: nowhere}]", "", "host:port"},
		{"two credentials", "", "targets: [{name: a, url: 'http://h/', basic_auth: {username: u}, authorization: {credentials: s3cret}}]", "", "at most one of"},
		{"redirects", "", "targets: [{name: a, url: 'http://h/', follow_redirects: true}]", "", "follow_redirects"},
		{"HTTP/2", "", "targets: [{name: a, url: 'http://h/', enable_http2: true}]", "", "enable_http2"},
		{"no such certificate", "", "targets: [{name: a, url: 'https://h/', tls_config: {ca_file: none.pem}}]", "", "none.pem"},
		{"a bad proxy", "", "targets: [{name: a, url: 'http://h/', proxy_url: 'http://u:s3cret@h:%zz/'}]", "", "not a URL"},
	} {
		set, err := targetsOf(t, c.env, c.file, c.labels)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, %v", c.what, set, err)
		}
	}
	if _, err := (&Config{TargetsFile: "/nonexistent/targets.yml"}).declarations(); err == nil || !strings.Contains(err.Error(), "FARSCRAPE_TARGETS_FILE") {
		t.Errorf("no file: %v", err)
	}
}

// A value with a ; or a space in it is one, unless another label follows there.
func TestALabelsValueMayHoldMostThings(t *testing.T) {
	for in, want := range map[string]string{"a=1;2": "1;2", "a=New York": "New York", "a=x==": "x==", "a=http://h/?b=1;c=2": "http://h/?b=1;c=2", "a=1; =2": "1; =2", "a=": ""} {
		if got, err := parseLabels(in); err != nil || got["a"] != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
}

func TestAnUnchangedTargetKeepsItsConnections(t *testing.T) {
	declare := func(second string) []declaration {
		return []declaration{{Name: "a", URL: "http://h/"}, {Name: "b", URL: second}}
	}
	dial := new(net.Dialer).DialContext
	own := ownTarget(nil, nil)
	first, err := newTargetSet(declare("http://i/"), nil, own, nil, dial)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newTargetSet(declare("http://j/"), nil, own, first, dial)
	if err != nil {
		t.Fatal(err)
	}
	if first.find("a").transport != second.find("a").transport {
		t.Error("a has a new transport")
	}
	if first.find("b").transport == second.find("b").transport {
		t.Error("b has its old transport")
	}
}

func FuzzTargetsFile(f *testing.F) {
	f.Add([]byte("targets: [{name: a, url: 'http://h/', basic_auth: {username: u}}]"))
	f.Add([]byte(`{"targets": [{"name": "a", "url": "http://h:1/*", "http_headers": {"x": {"values": ["y"]}}}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		declared, err := parseTargetsFile(content, "/dir")
		if err == nil {
			checkDeclared(t, declared)
		}
	})
}

func FuzzTargets(f *testing.F) {
	f.Add("node=http://localhost:9100/metrics,app=https://app.internal/*")
	f.Add("a=http://[::1%25eth0]:80/x?y,=,")
	f.Fuzz(func(t *testing.T, s string) {
		declared, err := parseTargets(s)
		if err == nil {
			checkDeclared(t, declared)
		}
	})
}

// checkDeclared checks that what is taken can be told to a relay.
func checkDeclared(t *testing.T, declared []declaration) {
	var list []wire.Target
	for _, d := range declared {
		made, err := newTarget(d, nil)
		if err != nil {
			return
		}
		list = append(list, made.Target)
	}
	if wire.CheckTargets(list) != nil {
		return
	}
	if _, err := wire.MarshalTargets(list); err != nil && !strings.Contains(err.Error(), "over the limit") {
		t.Fatal(err)
	}
	for i := range list {
		if !strings.HasPrefix(list[i].Path, "/") || list[i].Port == 0 {
			t.Fatalf("took %+v", list[i])
		}
	}
}
