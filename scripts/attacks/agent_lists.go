package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// listAttacks are of agents whose target lists are none, or take what there is.
func listAttacks() []attack {
	lists := func(name, sent, targets string) attack {
		return attack{name: "list-" + name, sent: sent, expected: "4008 refused", run: func(t *trial) string {
			p, seen := t.upgrade(0, guise{})
			if p == nil {
				return seen
			}
			p.hello(attacker)
			p.send(wire.Frame{Type: wire.TypeTargets, Payload: []byte(`{"targets":[` + targets + `]}`)})
			return p.closes(2 * time.Second)
		}}
	}
	made := func(name, sent, expected string, targets func() []wire.Target) attack {
		return attack{name: "list-" + name, sent: sent, expected: expected, run: func(t *trial) string {
			p, seen := t.tryLink(0, guise{targets: targets()})
			if p != nil {
				return "linked"
			}
			return seen
		}}
	}
	return []attack{
		lists("dots", "a target called ..", `{"name":".."}`),
		lists("slash", "a target called ../sd", `{"name":"../sd"}`),
		lists("newline", "a newline in a target's name", `{"name":"a\nb"}`),
		lists("doubled", "two targets of one name", `{"name":"a"},{"name":"a"}`),
		lists("label-meta", "a label __address__", `{"name":"a","labels":{"__address__":"x"}}`),
		lists("label-agent", "a label agent", `{"name":"a","labels":{"agent":"victim"}}`),
		lists("label-name", "a label that Prometheus refuses", `{"name":"a","labels":{"a-b":"x"}}`),
		lists("address-zone", `the address [::1%x "y/..]:80`, `{"name":"a","address":"[::1%x \"y/..]:80"}`),
		lists("address-port", "the address x:0", `{"name":"a","address":"x:0"}`),
		lists("port", "the port 70000", `{"name":"a","port":70000}`),
		lists("scheme", "the scheme file", `{"name":"a","scheme":"file","path":"/"}`),
		lists("subtree", "a subtree without its slash", `{"name":"a","path":"/x","subtree":true}`),
		lists("not-json", "a list that is no JSON", `{`),
		lists("deep-json", "60,000 brackets", strings.Repeat("[", 60_000)),
		lists("labels-65", "65 labels of a target", `{"name":"a","labels":{`+labels(65)+`}}`),
		{name: "list-two-paths", sent: "two paths on one port; then /sd?mode=proxy", expected: "2 targets, 2 identities", run: twoPaths},
		made("addresses-of-30kB", "three addresses of 30 kB on localhost", "4008 refused", longAddresses),
		made("10001", "10,001 targets", "4008 refused", func() []wire.Target { return manyTargets(10_001, 0) }),
		{name: "list-endless", sent: "a list that goes on for ever", expected: "4008 refused", run: func(t *trial) string {
			p, seen := t.upgrade(0, guise{})
			if p == nil {
				return seen
			}
			p.hello(attacker)
			for i := 0; p.now() == "open" && i < 10_000; i++ {
				p.send(wire.Frame{Type: wire.TypeTargets, Payload: fmt.Appendf(nil, `{"targets":[{"name":"t%d","path":"/%s"}],"more":true}`, i, strings.Repeat("x", 60_000))})
			}
			return p.closes(2 * time.Second)
		}},
		{name: "lists-of-4MB", sent: "22 links with lists of just under 4 MB, 50 labels a target", expected: "22 × 4008 refused", bound: bound{lines: 60}, run: func(t *trial) string {
			return t.many(22, 2, func(i int) string {
				_, seen := t.tryLink(i%2, guise{name: fmt.Sprintf("fat-%d", i), pattern: "fat-*", shared: true, targets: manyTargets(2_400, 50)})
				return seen
			})
		}},
		{name: "lists-of-agents", sent: "40 agents with 10,000 targets each", expected: "none takes more than its tenant may", bound: bound{memory: 170, left: 80, lines: 120, delay: time.Second}, run: func(t *trial) string {
			seen := t.many(40, 2, func(i int) string {
				_, seen := t.tryLink(i%2, guise{name: fmt.Sprintf("fat-%d", i), pattern: "fat-*", targets: manyTargets(10_000, 2)})
				return seen
			})
			t.Note("%s", seen)
			return "none takes more than its tenant may"
		}},
		{name: "sd-of-20000", sent: "two shared links with 10,000 targets each; then /sd, in both modes, and a proxy-mode request to nobody",
			expected: "/sd 200 within 1 s, /sd?mode=proxy 200 within 1 s, nobody 404 within 1 s", bound: bound{memory: 170, left: 80}, run: func(t *trial) string {
				for i := range 2 {
					t.link(i, guise{shared: true, targets: manyTargets(10_000, 2)})
				}
				return t.timedPages()
			}},
		{name: "lists-unread", sent: "a tenant of 50,000 targets, and 100 who ask for its lists, each for another one, and read nothing for 10 s", expected: "asked",
			bound: bound{memory: 170, left: 80, lines: 60, delay: time.Second}, run: listsUnread},
		{name: "sd-of-one-address", sent: "10,000 targets at one address; then the same", expected: "/sd 200 within 1 s, /sd?mode=proxy 200 within 1 s, nobody 404 within 1 s",
			bound: bound{memory: 170, left: 80}, run: func(t *trial) string {
				targets := manyTargets(10_000, 0)
				for i := range targets {
					targets[i].Address, targets[i].Path = "one.example:9100", "/metrics"
				}
				t.link(0, guise{targets: targets})
				return t.timedPages()
			}},
	}
}

// listsUnread asks for pages that are long, and each another one: what was made for
// one cannot be sent to the next.
func listsUnread(t *trial) string {
	for i := range 5 {
		t.link(i%2, guise{name: fmt.Sprintf("fat-%d", i), pattern: "fat-*", targets: manyTargets(10_000, 1)})
	}
	t.Wait(listings)
	for i := range 100 {
		conn := t.dial().(*net.TCPConn)
		defer conn.Close()
		_ = conn.SetReadBuffer(4 << 10)
		path := fmt.Sprintf("/sd?target=*&target=x%d", i)
		if i%2 == 0 {
			path = "/api/v1/agents"
		}
		_, _ = io.WriteString(conn, t.fill(request("GET "+path, "{auth}")))
	}
	t.Wait(10 * time.Second)
	return "asked"
}

// twoPaths counts the series' identities that discovery gives two targets, which
// Prometheus would mix up if they were one.
func twoPaths(t *trial) string {
	t.link(0, guise{targets: []wire.Target{{Name: "a", Scheme: "http", Port: 9100, Path: "/a"}, {Name: "b", Scheme: "http", Port: 9100, Path: "/b"}}})
	t.Wait(listings)
	var groups []struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	if err := json.Unmarshal(t.get("/sd?mode=proxy&agent="+attacker).body, &groups); err != nil {
		return err.Error()
	}
	targets, identities := 0, make(map[string]bool)
	for _, g := range groups {
		if g.Labels["__metrics_path__"] != "/a" && g.Labels["__metrics_path__"] != "/b" {
			continue
		}
		targets++
		instance := g.Labels["instance"]
		if instance == "" && len(g.Targets) == 1 {
			instance = g.Targets[0]
		}
		identities[instance] = true
	}
	return fmt.Sprintf("%d targets, %d identities", targets, len(identities))
}

// longAddresses would be refused for whose they are, were they not for their
// length: together they are more than one message could tell.
func longAddresses() []wire.Target {
	targets := manyTargets(3, 0)
	for i := range targets {
		targets[i].Address = strings.Repeat("a.", 15<<10) + "localhost:80"
	}
	return targets
}

// labels are so many of one target's, as JSON has them.
func labels(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"label_%02d":"value"`, i))
	}
	return strings.Join(all, ",")
}

// manyTargets is a list with so many labels a target.
func manyTargets(n, labels int) []wire.Target {
	all := make([]wire.Target, n)
	for i := range all {
		all[i] = wire.Target{Name: fmt.Sprintf("t%05d", i), Scheme: "http", Port: 9100, Path: fmt.Sprintf("/metrics/%d", i)}
		if labels > 0 {
			all[i].Labels = make(map[string]string, labels)
		}
		for j := range labels {
			all[i].Labels[fmt.Sprintf("label_%02d", j)] = fmt.Sprintf("value-%d-%d", i, j)
		}
	}
	return all
}

// timedPages asks for what a long list makes slow, and says how long each took,
// rounded to what is too long.
func (t *trial) timedPages() string {
	var all []string
	took := func(what string, o outcome) {
		within := "within 1 s"
		if o.took > time.Second {
			within = fmt.Sprintf("after %.1f s", o.took.Seconds())
		}
		all = append(all, fmt.Sprintf("%s %d %s", what, o.status, within))
		t.Note("%s: %.0f ms", what, float64(o.took.Microseconds())/1000)
	}
	took("/sd", t.get("/sd"))
	took("/sd?mode=proxy", t.get("/sd?mode=proxy"))
	took("nobody", t.send("GET http://nobody.example:9100/metrics HTTP/1.1\nHost: x\nFarscrape-Token: {token}\n\n"))
	for _, warm := range []string{"/sd", "/sd?mode=proxy"} {
		t.Note("warm %s: %.0f ms", warm, float64(t.get(warm).took.Microseconds())/1000)
	}
	return strings.Join(all, ", ")
}
