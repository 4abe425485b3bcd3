package main

import "github.com/farscrape/farscrape/relay/wire"

// ownAttacks are of an agent that would be the relay itself: it declares a host as
// its address, with all that is under it, or goes by its name.
func ownAttacks() []attack {
	named := plan{env: "FARSCRAPE_PUBLIC_URL=http://relay.internal:8181 FARSCRAPE_OWN_HOSTS=scrape.internal"}
	open := plan{split: true, noAuth: true}
	fronted := plan{env: "FARSCRAPE_ORIGIN_FORM=addresses FARSCRAPE_OWN_HOSTS=front.internal"}
	const declared = "relay.internal:8181"
	asks := func(p plan, name, address, path, expected string) attack {
		return attack{name: "own-" + name, sent: "an agent declares " + address + "; then " + path + " of that Host", expected: expected, plan: p,
			run: func(t *trial) string { return t.usurp(address, path) }}
	}
	calls := func(name, agent, expected string) attack {
		return attack{name: "own-" + name, sent: "an agent is called " + agent, expected: expected, plan: named, run: func(t *trial) string {
			_, seen := t.tryLink(0, guise{name: agent, pattern: "*"})
			return seen
		}}
	}
	return []attack{
		asks(plan{}, "sd", declared, "/sd?agent=victim", "200 list"),
		asks(plan{}, "scrape", declared, "/scrape/victim/t", "200 victim/t"),
		asks(plan{}, "ready", declared, "/-/ready", `200 "ready\n"`),
		asks(plan{}, "clients", declared, "/clients", "200 list"),
		asks(plan{}, "api", declared, "/api/v1/agents", "200 json"),
		asks(plan{}, "directory", declared, "/metrics/agents", "400 target_ambiguous"),
		asks(plan{}, "metrics", declared, "/metrics", "400 target_ambiguous"),
		asks(plan{}, "root", declared, "/", "400 target_ambiguous"),
		asks(plan{}, "localhost", "localhost:{relay-port}", "/sd?agent=victim", "200 list"),
		asks(plan{}, "very-address", "{relay}", "/sd?agent=victim", "200 list"),
		asks(plan{}, "very-address-metrics", "{relay}", "/metrics", "404 agent_unknown"),
		asks(fronted, "fronted-metrics", declared, "/metrics", "200 mallory"),
		asks(fronted, "fronted-very-address", "{relay}", "/sd?agent=victim", "200 list"),
		asks(fronted, "fronted-own-host", "front.internal:8181", "/sd?agent=victim", "200 list"),
		asks(named, "public-sd", declared, "/sd?agent=victim", "200 list"),
		asks(named, "public-metrics", declared, "/metrics", "404 agent_unknown"),
		asks(named, "public-upper-case", "RELAY.internal:8181", "/sd?agent=victim", "200 list"),
		asks(named, "host-sd", "scrape.internal:80", "/sd?agent=victim", "200 list"),
		calls("name-public", "relay.internal", "403 forbidden"),
		calls("name-host", "scrape.internal", "403 forbidden"),
		calls("name-upper-case", "Relay.Internal", "403 forbidden"),
		calls("name-localhost", "localhost", "400 bad_request"),
		asks(open, "open-sd", declared, "/sd?agent=victim", "200 list"),
		asks(open, "open-scrape", declared, "/scrape/victim/t", "200 victim/t"),
		asks(open, "open-ready", declared, "/-/ready", `200 "ready\n"`),
		asks(open, "open-metrics", declared, "/metrics", "400 target_ambiguous"),
	}
}

// usurp has an agent declare an address with all that is under it, and asks the
// relay for a path with that Host, as a front-end does that rewrites requests.
func (t *trial) usurp(address, path string) string {
	host := t.fill(address)
	p, why := t.tryLink(0, guise{targets: []wire.Target{
		{Name: small, Scheme: "http", Port: 9100, Path: "/metrics"},
		{Name: "all", Scheme: "http", Address: host, Port: 9100, Path: "/", Subtree: true},
	}})
	if p == nil {
		t.Note("the link: %s", why)
	}
	// Until every listing has the address, if it is to be had.
	_, has := t.Poll(listings, func() bool {
		return t.send("GET http://"+host+"/ HTTP/1.1\nHost: x\nFarscrape-Token: {token}\n\n").String() == "200 "+attacker
	})
	t.Note("the attacker has the address: %v", has)
	return t.send("GET " + path + " HTTP/1.1\nHost: " + host + "\nFarscrape-Token: {token}\nX-Prometheus-Scrape-Timeout-Seconds: 2\n\n").String()
}
