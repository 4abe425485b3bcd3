package edge

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/farscrape/farscrape/relay/wire"
)

// agentOf is an agent of a listing, linked once for each replica.
func agentOf(tenant, name string, targets []wire.Target, replicas ...wire.ReplicaID) wire.Agent {
	key := wire.AgentKey{Tenant: tenant, Agent: name}
	entry := wire.Entry{AgentKey: key, Version: "1.2.3", RemoteAddr: "192.0.2.7:50000", List: wire.NewTargetList(targets),
		Instance: "00000000000000aa", TokenExpiry: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}
	a := wire.Agent{AgentKey: key, Last: entry, LastSeen: time.Date(2126, 11, 20, 12, 0, 0, 5e8, time.UTC)} // not before this test, or it would be now
	for _, r := range replicas {
		entry.Replica = r
		a.Links = append(a.Links, entry)
	}
	if len(replicas) == 0 {
		a.LastClose = "timeout"
	}
	return a
}

var own = wire.Target{Name: wire.OwnTarget, Labels: map[string]string{"site": "berlin"}}

func listing() []wire.Agent {
	return []wire.Agent{
		agentOf("default", "edge-2", []wire.Target{own, {Name: "node", Scheme: "http", Port: 9100, Path: "/metrics"}}),
		agentOf("blue", "edge-1", []wire.Target{own}, "r1"),
		agentOf("default", "edge-1", []wire.Target{
			own,
			{Name: "node", Scheme: "http", Port: 9100, Path: "/metrics", Labels: map[string]string{"job": "node", "site": "berlin"}},
			{Name: "app", Scheme: "https", Address: "App.Internal:8443", Port: 8443, Path: "/m/", Subtree: true, Listed: new(true), Labels: map[string]string{"instance": "app"}},
		}, "r1", "r2"),
	}
}

const pathGolden = `[
{"targets":["relay.example.com"],"labels":{"__meta_farscrape_agent":"edge-1","__meta_farscrape_connected":"true","__meta_farscrape_target":"app","__meta_farscrape_tenant":"default","__metrics_path__":"/p/scrape/edge-1/app","__scheme__":"https","agent":"edge-1","instance":"app"}},
{"targets":["relay.example.com"],"labels":{"__meta_farscrape_agent":"edge-1","__meta_farscrape_connected":"true","__meta_farscrape_target":"farscrape","__meta_farscrape_tenant":"default","__metrics_path__":"/p/scrape/edge-1/farscrape","__scheme__":"https","agent":"edge-1","instance":"edge-1/farscrape","site":"berlin"}},
{"targets":["relay.example.com"],"labels":{"__meta_farscrape_agent":"edge-1","__meta_farscrape_connected":"true","__meta_farscrape_target":"node","__meta_farscrape_tenant":"default","__metrics_path__":"/p/scrape/edge-1/node","__scheme__":"https","agent":"edge-1","instance":"edge-1/node","job":"node","site":"berlin"}},
{"targets":["relay.example.com"],"labels":{"__meta_farscrape_agent":"edge-2","__meta_farscrape_connected":"false","__meta_farscrape_target":"farscrape","__meta_farscrape_tenant":"default","__metrics_path__":"/p/scrape/edge-2/farscrape","__scheme__":"https","agent":"edge-2","instance":"edge-2/farscrape","site":"berlin"}},
{"targets":["relay.example.com"],"labels":{"__meta_farscrape_agent":"edge-2","__meta_farscrape_connected":"false","__meta_farscrape_target":"node","__meta_farscrape_tenant":"default","__metrics_path__":"/p/scrape/edge-2/node","__scheme__":"https","agent":"edge-2","instance":"edge-2/node"}}
]`

const proxyGolden = `[
{"targets":["app.internal:8443"],"labels":{"__meta_farscrape_agent":"edge-1","__meta_farscrape_connected":"true","__meta_farscrape_target":"app","__meta_farscrape_tenant":"default","__metrics_path__":"/m/","__scheme__":"http","agent":"edge-1","instance":"app"}},
{"targets":["edge-1:9100"],"labels":{"__meta_farscrape_agent":"edge-1","__meta_farscrape_connected":"true","__meta_farscrape_target":"node","__meta_farscrape_tenant":"default","__metrics_path__":"/metrics","__scheme__":"http","agent":"edge-1","job":"node","site":"berlin"}},
{"targets":["edge-2:9100"],"labels":{"__meta_farscrape_agent":"edge-2","__meta_farscrape_connected":"false","__meta_farscrape_target":"node","__meta_farscrape_tenant":"default","__metrics_path__":"/metrics","__scheme__":"http","agent":"edge-2"}}
]`

func publicURL(s string) func(*Config) {
	return func(c *Config) { c.PublicURL, _ = url.Parse(s) }
}

func TestDiscovery(t *testing.T) {
	b := newBench(t, publicURL("https://relay.example.com/p/"))
	b.agents = listing()
	for path, golden := range map[string]string{
		"/sd": pathGolden, "/p/sd": pathGolden, "/sd?mode=path": pathGolden, "/sd?mode=proxy": proxyGolden,
	} {
		o := b.get(t, path)
		o.want(t, 200, "")
		if ct := o.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: Content-Type %q", path, ct)
		}
		if want := strings.ReplaceAll(golden, "\n", "") + "\n"; o.body != want {
			t.Errorf("%s:\n%s\nwant\n%s", path, o.body, want)
		}
		takenByPrometheus(t, o.body)
	}
}

// A listed is a group as Prometheus reads it.
type listed struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// takenByPrometheus checks what discovery/http and scrape refuse a list or a
// target for.
func takenByPrometheus(t *testing.T, body string) []listed {
	t.Helper()
	var groups []listed
	d := json.NewDecoder(bytes.NewReader([]byte(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&groups); err != nil || groups == nil {
		t.Fatalf("%v: %s", err, body)
	}
	name := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	for _, g := range groups {
		if len(g.Targets) != 1 || strings.Contains(g.Targets[0], "/") || g.Targets[0] == "" {
			t.Errorf("targets %q", g.Targets)
		}
		for l := range g.Labels {
			if !name.MatchString(l) {
				t.Errorf("label name %q", l)
			}
		}
		if !strings.HasPrefix(g.Labels["__metrics_path__"], "/") {
			t.Errorf("labels %v", g.Labels)
		}
	}
	return groups
}

func names(groups []listed) []string {
	all := []string{}
	for _, g := range groups {
		all = append(all, g.Labels["__meta_farscrape_agent"]+"/"+g.Labels["__meta_farscrape_target"])
	}
	return all
}

func TestDiscoveryFilters(t *testing.T) {
	b := newBench(t)
	b.agents = listing()
	for query, want := range map[string]string{
		"agent=*-2":                          "edge-2/farscrape edge-2/node",
		"agent=EDGE-2&target=n*":             "edge-2/node",
		"target=app&target=node":             "edge-1/app edge-1/node edge-2/node",
		"label=site%3Dberlin&label=job=node": "edge-1/node",
		"label=site=":                        "edge-1/app edge-2/node",
		"label=__meta_farscrape_connected=false&target=node": "edge-2/node",
		"agent=nobody":                  "",
		"mode=proxy&label=agent=edge-1": "edge-1/app edge-1/node",
	} {
		o := b.get(t, "/sd?"+query)
		o.want(t, 200, "")
		if got := strings.Join(names(takenByPrometheus(t, o.body)), " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if o := b.get(t, "/sd?agent=nobody"); o.body != "[]\n" {
		t.Errorf("nothing is %q", o.body)
	}
	for _, query := range []string{"mode=both", "mode=path&mode=proxy", "mode=", "agent=[", "target=[", "label=site", "agents=x", "a%zz", "a;b"} {
		b.get(t, "/sd?"+query).want(t, 400, "bad_request")
	}
}

// A target that answers only with a parameter, or only below its path, would be
// listed to stay up == 0 for ever.
func TestDiscoveryLeavesOutTheUnlisted(t *testing.T) {
	b := newBench(t)
	at := func(name string, subtree bool, listed *bool) wire.Target {
		return wire.Target{Name: name, Scheme: "http", Address: name + ":80", Path: "/" + name + "/", Subtree: subtree, Listed: listed}
	}
	b.agents = []wire.Agent{agentOf("default", "edge-1", []wire.Target{
		at("node", false, nil), at("shown", false, new(true)), at("blackbox", false, new(false)),
		at("tree", true, nil), at("showntree", true, new(true)), at("hiddentree", true, new(false)),
	}, "r1")}
	for _, query := range []string{"", "?mode=proxy", "?target=*"} {
		o := b.get(t, "/sd"+query)
		o.want(t, 200, "")
		if got, want := strings.Join(names(takenByPrometheus(t, o.body)), " "), "edge-1/node edge-1/shown edge-1/showntree"; got != want {
			t.Errorf("/sd%s: %s, want %s", query, got, want)
		}
	}
	for _, why := range omissions() {
		if n := testutil.ToFloat64(b.edge.metrics.omitted.WithLabelValues(string(why))); n != 0 {
			t.Errorf("%v counted as %s: they were not asked for", n, why)
		}
	}
}

func TestDiscoveryIsWholeOrNone(t *testing.T) {
	b := newBench(t)
	b.agents = listing()
	for _, err := range []*wire.Error{wire.Errorf(wire.Deadline, "half of it"), wire.Errorf(wire.BusUnavailable, "away"), wire.Errorf(wire.Internal, "x")} {
		b.listing = err
		for _, path := range []string{"/sd", "/sd?mode=proxy", "/clients", "/api/v1/agents", "/metrics/agents"} {
			b.get(t, path).want(t, 503, "bus_unavailable")
		}
	}
}

// What a token may not scrape it does not see either.
func TestDiscoveryKeepsToTheToken(t *testing.T) {
	b := newBench(t)
	b.agents = append(listing(), agentOf("blue", "core-1", []wire.Target{own}, "r1"))
	for path, want := range map[string]string{
		"/sd":              "edge-1",
		"/clients":         "edge-1",
		"/api/v1/agents":   "edge-1",
		"/metrics/agents":  "edge-1",
		"/sd?agent=core-*": "",
	} {
		o := b.send(t, "GET "+path+" HTTP/1.1\nHost: 127.0.0.1\nAuthorization: Bearer "+b.narrow+"\n\n")
		o.want(t, 200, "")
		if want != "" && !strings.Contains(o.body, want) {
			t.Errorf("%s: %s is not there", path, want)
		}
		for _, other := range []string{"core-1", "edge-2", "default"} {
			if strings.Contains(o.body, other) {
				t.Errorf("%s: %s is there", path, other)
			}
		}
	}
}

// In proxy mode a request must mean exactly the target it is listed for.
func TestProxyDiscoveryLeavesOutWhatIsAmbiguous(t *testing.T) {
	b := newBench(t)
	at := func(name, address, path string) wire.Target {
		return wire.Target{Name: name, Address: address, Path: path, Scheme: "http"}
	}
	port := func(name string, port uint16, path string) wire.Target {
		return wire.Target{Name: name, Port: port, Path: path, Scheme: "http"}
	}
	tree := func(t wire.Target) wire.Target { t.Subtree, t.Listed = true, new(true); return t }
	b.agents = []wire.Agent{
		agentOf("default", "a", []wire.Target{
			port("one", 9100, "/metrics"), port("same", 9100, "/metrics"), port("other", 9100, "/other"),
			tree(port("root", 9200, "/")), tree(port("deep", 9200, "/deep/")), port("shadow", 9200, "/deep/"),
			at("shared", "db:9100", "/"), at("taken", "b:9100", "/x"), at("odd", "odd:1", "/a%2Fb"), at("space", "odd:1", "/a%20b"),
		}, "r1"),
		agentOf("default", "b", []wire.Target{
			port("node", 9100, "/metrics"), at("shared", "DB:9100", "/"),
			{Name: "bad", Port: 1, Path: "/", Labels: map[string]string{"__x": "y"}},
		}, "r1"),
	}
	early, late := time.Unix(1, 0), time.Unix(9, 0)
	b.agents[0].Claims = map[string]time.Time{"b:9100": late, "db:9100": early}
	b.agents[1].Since, b.agents[1].Claims = early, map[string]time.Time{"db:9100": early.Add(time.Millisecond)}
	o := b.get(t, "/sd?mode=proxy")
	groups := takenByPrometheus(t, o.body)
	want := []string{"a/other", "a/root", "a/shadow", "a/space", "b/node"}
	if got := names(groups); !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	for _, g := range groups {
		if strings.HasSuffix(g.Labels["__meta_farscrape_target"], "space") && g.Labels["__metrics_path__"] != "/a b" {
			t.Errorf("Prometheus would escape %q once more", g.Labels["__metrics_path__"])
		}
	}
	counted := b.edge.metrics.omitted
	if n := testutil.ToFloat64(counted.WithLabelValues("ambiguous")); n != 5 {
		t.Errorf("%v counted as ambiguous: one, same, deep and two shared are", n)
	}
	if n := testutil.ToFloat64(counted.WithLabelValues("claimed")); n != 1 {
		t.Errorf("%v counted as claimed: taken is", n)
	}
	if n := testutil.ToFloat64(counted.WithLabelValues("unprintable")); n != 2 {
		t.Errorf("%v counted as unprintable: odd and bad are", n)
	}
}

func TestDiscoveryAddress(t *testing.T) {
	loopback := func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	const forwarded = "X-Forwarded-Host: outer.example.com, inner\nX-Forwarded-Proto: https\n"
	for name, test := range map[string]struct {
		config       func(*Config)
		header       string
		scheme, want string
	}{
		"Host":                   {func(*Config) {}, "Host: relay:8080\n", "http", "relay:8080"},
		"forwarded by anyone":    {func(*Config) {}, "Host: relay:8080\n" + forwarded, "http", "relay:8080"},
		"forwarded by a trusted": {loopback, "Host: relay:8080\n" + forwarded, "https", "outer.example.com"},
		"odd proto":              {loopback, "Host: relay\nX-Forwarded-Proto: gopher\n", "http", "relay"},
		"public URL":             {publicURL("https://r.example.com:8443"), "Host: relay\n" + forwarded, "https", "r.example.com:8443"},
	} {
		b := newBench(t, test.config)
		b.agents = listing()
		o := b.send(t, "GET /sd HTTP/1.1\nAuthorization: Bearer "+b.scraper+"\n"+test.header+"\n")
		for _, g := range takenByPrometheus(t, o.body) {
			if g.Targets[0] != test.want || g.Labels["__scheme__"] != test.scheme {
				t.Errorf("%s: %s %v", name, g.Labels["__scheme__"], g.Targets)
			}
		}
	}
	b := newBench(t, loopback)
	for _, host := range []string{"a/b", "a b", "x:y:z", "relay?x"} {
		b.send(t, "GET /sd HTTP/1.1\nHost: relay\nX-Forwarded-Host: "+host+"\nAuthorization: Bearer "+b.scraper+"\n\n").want(t, 400, "bad_request")
	}
}

// Prometheus gives two targets of one address the same instance, whatever their
// paths: their series would take turns under one name.
func TestProxyDiscoveryTellsSeriesApart(t *testing.T) {
	b := newBench(t)
	at := func(name, path string, labels map[string]string) wire.Target {
		return wire.Target{Name: name, Address: "db:9100", Path: path, Scheme: "http", Labels: labels}
	}
	job := func(name string) map[string]string { return map[string]string{"job": name} }
	same := map[string]string{"job": "x", "instance": "mine"}
	b.agents = []wire.Agent{agentOf("default", "a", []wire.Target{
		at("one", "/metrics", nil), at("two", "/probe", nil), at("other", "/other", job("other")),
		at("c", "/c", same), at("d", "/d", same), {Name: "node", Port: 9200, Path: "/metrics", Scheme: "http"},
	}, "r1")}
	for query, want := range map[string]map[string]string{
		"?mode=proxy":            {"one": "db:9100/metrics", "two": "db:9100/probe", "other": "", "c": "db:9100/c", "d": "db:9100/d", "node": ""},
		"?mode=proxy&target=one": {"one": "db:9100/metrics"}, // whatever else is asked for
		"":                       {"one": "a/one", "two": "a/two", "other": "a/other", "c": "a/c", "d": "a/d", "node": "a/node"},
	} {
		got := make(map[string]string)
		for _, g := range takenByPrometheus(t, b.get(t, "/sd"+query).body) {
			got[g.Labels["__meta_farscrape_target"]] = g.Labels["instance"]
		}
		if !maps.Equal(got, want) {
			t.Errorf("/sd%s: instances %v, want %v", query, got, want)
		}
	}
}

// What nobody has changed is not made again; what has, is.
func TestDiscoveryIsMadeOnceAListing(t *testing.T) {
	b := newBench(t)
	odd := wire.Target{Name: "odd", Address: "odd:1", Path: "/a%2Fb", Scheme: "http"}
	b.agents = []wire.Agent{agentOf("default", "a", []wire.Target{odd}, "r1")}
	made := func() float64 { return testutil.ToFloat64(b.edge.metrics.omitted.WithLabelValues("unprintable")) }
	b.same = true
	for range 3 {
		b.get(t, "/sd?mode=proxy").want(t, 200, "")
	}
	if n := made(); n != 1 {
		t.Errorf("made %v times of one listing", n)
	}
	b.same = false
	b.get(t, "/sd?mode=proxy").want(t, 200, "")
	if n := made(); n != 2 {
		t.Errorf("made %v times of two listings", n)
	}
}

// Whoever has a list already is told so, by whichever replica: two edges that know
// the same tell it alike.
func TestAListThatIsTheSameIsNotSentAgain(t *testing.T) {
	one, other := newBench(t, publicURL("https://relay.example.com")), newBench(t, publicURL("https://relay.example.com"))
	one.agents, other.agents = listing(), listing()
	ask := func(b *bench, path, tag, more string) outcome {
		t.Helper()
		return b.send(t, "GET "+path+" HTTP/1.1\nHost: relay.example.com\nAuthorization: Bearer "+b.scraper+"\nIf-None-Match: "+tag+"\n"+more+"\n")
	}
	for _, path := range []string{"/sd", "/sd?mode=proxy", "/api/v1/agents"} {
		first := ask(one, path, `"other"`, "Range: bytes=0-3\n")
		tag := first.Header.Get("ETag")
		if first.StatusCode != 200 || len(first.body) < 10 || len(tag) < 10 {
			t.Fatalf("%s: %d %q, tag %q", path, first.StatusCode, first.body, tag)
		}
		for _, b := range []*bench{one, other} {
			if o := ask(b, path, `W/"x", `+tag, ""); o.StatusCode != 304 || o.body != "" {
				t.Errorf("%s: %d %q", path, o.StatusCode, o.body)
			}
		}
	}
	before := ask(one, "/sd", `"other"`, "").Header.Get("ETag")
	one.agents = one.agents[1:]
	if o := ask(one, "/sd", before, ""); o.StatusCode != 200 || o.Header.Get("ETag") == before {
		t.Errorf("changed: %d, tag %q as before", o.StatusCode, o.Header.Get("ETag"))
	}
}
