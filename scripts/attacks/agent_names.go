package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// nameAttacks are of agents that would be others.
func nameAttacks() []attack {
	return []attack{
		{name: "name-shared-epoch-1", sent: "a pattern's token links beside a shared agent with epoch 1", expected: "200 honest; over the bus 200 honest", run: func(t *trial) string {
			t.link(0, guise{name: "pair-1", shared: true}).answers(sayHonest)
			_, seen := t.tryLink(0, guise{name: "pair-1", pattern: "pair-*", shared: true, epoch: 1})
			t.Note("%s", seen)
			return t.both("pair-1", small)
		}},
		{name: "name-epoch-max", sent: "a pattern's token claims the epoch 2⁶⁴−1 of a linked agent's name", expected: "200 victim/t; over the bus 200 victim/t", run: func(t *trial) string {
			_, seen := t.tryLink(1, guise{name: "victim", pattern: "vic*", epoch: 1<<64 - 1})
			t.Note("%s", seen)
			return t.both("victim", small)
		}},
		{name: "name-pattern", sent: "a pattern's token for the name of an agent that is linked", expected: "4005 name_taken", run: func(t *trial) string {
			_, seen := t.tryLink(1, guise{name: "victim", pattern: "vic*"})
			return seen
		}},
		{name: "name-pattern-shared", sent: "the same, as shared", expected: "4005 name_taken", run: func(t *trial) string {
			_, seen := t.tryLink(1, guise{name: "victim", pattern: "vic*", shared: true})
			return seen
		}},
		{name: "name-after-freeze", sent: "a pattern's token takes the name of an agent that is frozen for 17 s", expected: "200 frozen/t; over the bus 200 frozen/t", bound: bound{lines: 60}, run: afterFreeze},
		{name: "name-redis-away", sent: "Redis hangs, and a pattern's token comes for a name whose agent is linked", expected: "200 victim/t, and after it 200 victim/t; over the bus 200 victim/t",
			plan: plan{apart: true}, breaks: true, bound: bound{pages: true}, run: whileRedisIsAway},
		{name: "squat-gone", sent: "an agent declares another's name and port; that one goes", expected: "503 agent_offline; the attacker was asked 0 times", run: func(t *trial) string {
			a := t.agentAt("leaver", t.stack.Replicas[0].Addr, "FARSCRAPE_TARGETS="+t.stack.targets.urls("leaver"))
			t.Wait(claimApart)
			url := t.fill("http://leaver:{port}/leaver/t")
			p := t.squat(0, t.fill("leaver:{port}"))
			a.Stop()
			return t.asked(p, url)
		}},
		{name: "squat-earlier", sent: "an agent declares an address that another has declared", expected: "200 honest; the attacker was asked 0 times", run: func(t *trial) string {
			t.declares("honest", "app.example:7500")
			p := t.squat(1, "app.example:7500")
			return t.asked(p, "http://app.example:7500/metrics")
		}},
		{name: "squat-name", sent: "an agent declares the name and port of an agent that is linked", expected: "200 victim/t; the attacker was asked 0 times", run: func(t *trial) string {
			p := t.squat(1, t.fill("victim:{port}"))
			return t.asked(p, t.fill("http://victim:{port}/victim/t"))
		}},
		{name: "squat-by-name", sent: "an agent is called as another's address", expected: "200 honest; the attacker was asked 0 times", run: func(t *trial) string {
			t.declares("honest", "app.example:7500")
			p, seen := t.tryLink(1, guise{name: "app.example", targets: []wire.Target{{Name: small, Scheme: "http", Port: 7500, Path: "/metrics"}}})
			t.Note("the attacker: %s", seen)
			t.Wait(listings)
			return t.asked(p, "http://app.example:7500/metrics")
		}},
		{name: "squat-first", sent: "an agent declares the name and port of one that is not there yet", expected: "200 mallory; by its path 200 honest", run: func(t *trial) string {
			t.declares("honest", "newcomer:7500").answers(sayHello)
			t.link(1, guise{name: "newcomer", targets: []wire.Target{{Name: small, Scheme: "http", Port: 7500, Path: "/metrics"}}}).answers(sayHonest)
			t.Wait(listings)
			return t.send("GET http://newcomer:7500/metrics HTTP/1.1\nHost: x\nFarscrape-Token: {token}\n\n").String() + "; by its path " + t.scrape(0, "newcomer", small).String()
		}},
		{name: "squat-bound", sent: "the same, of an agent whose token is bound to the address", expected: "200 honest", run: func(t *trial) string {
			t.declares("honest", "bound.example:7500").answers(sayHello)
			t.link(1, guise{name: "newcomer", targets: squatting("bound.example:7500"),
				token: t.stack.mint(token.Claims{Role: token.Agent, Name: "newcomer", Addresses: "bound.example:*"})}).answers(sayHonest)
			t.Wait(listings)
			return t.send("GET http://bound.example:7500/metrics HTTP/1.1\nHost: x\nFarscrape-Token: {token}\n\n").String()
		}},
		{name: "squat-unbound", sent: "an agent whose token is bound to other addresses declares one", expected: "404 agent_unknown; the attacker was asked 0 times", run: func(t *trial) string {
			p := t.link(0, guise{targets: squatting("free.example:7500"), token: t.stack.mint(token.Claims{Role: token.Agent, Name: attacker, Addresses: "10.1.*:*"})})
			t.Wait(listings)
			return t.asked(p, "http://free.example:7500/metrics")
		}},
		{name: "squat-other-tenant", sent: "another tenant's agent declares the name and port of one", expected: "200 victim/t; the attacker was asked 0 times", run: func(t *trial) string {
			p := t.link(1, guise{tenant: otherTenant, targets: squatting(t.fill("victim:{port}"))})
			return t.asked(p, t.fill("http://victim:{port}/victim/t"))
		}},
	}
}

func sayHonest(p *peer, f wire.Frame) {
	p.send(head(f, 200), reply(f, wire.TypeData, []byte(ofHonest)), end(f))
}

// both scrapes by both replicas.
func (t *trial) both(agent, target string) string {
	return t.scrape(0, agent, target).String() + "; over the bus " + t.scrape(1, agent, target).String()
}

// squatting are targets with one that has that address, and all paths.
func squatting(address string) []wire.Target {
	return []wire.Target{{Name: small, Scheme: "http", Port: 9100, Path: "/metrics"}, {Name: "all", Scheme: "http", Address: address, Port: 9100, Path: "/", Subtree: true}}
}

// claimApart is how far apart two claims must be for one to be the earlier.
const claimApart = 1500 * time.Millisecond

// declares has an honest agent declare an address, and waits until it has it, and
// until no other claim is at the same time.
func (t *trial) declares(name, address string) *peer {
	p := t.link(0, guise{name: name, targets: squatting(address)}).answers(sayHonest)
	t.Until(rig.Patience, "the address is the agent's", func() bool {
		return t.send("GET http://"+address+"/metrics HTTP/1.1\nHost: x\nFarscrape-Token: {token}\n\n").String() == "200 honest"
	})
	t.Wait(claimApart)
	return p
}

// squat links the attacker with a declaration of that address. It may be refused.
func (t *trial) squat(replica int, address string) *peer {
	p, seen := t.tryLink(replica, guise{targets: squatting(address)})
	t.Note("the attacker: %s", seen)
	t.Wait(listings)
	return p
}

// asked scrapes in proxy mode with a password for the target, and counts what of
// it came to the attacker.
func (t *trial) asked(p *peer, url string) string {
	o := t.send("GET " + url + " HTTP/1.1\nHost: x\nFarscrape-Token: {token}\nAuthorization: Basic dXNlcjpwYXNz\n" + seconds + "2\n\n")
	n := 0
	if p != nil {
		n = p.requests()
	}
	return fmt.Sprintf("%s; the attacker was asked %d times", o, n)
}

// afterFreeze freezes an agent for longer than its lease, lets a pattern's token
// take its name, and wants the agent back.
func afterFreeze(t *trial) string {
	a := t.agentAt("frozen", t.stack.Replicas[1].Addr, "FARSCRAPE_TARGETS="+t.stack.targets.urls("frozen"))
	a.Signal(syscall.SIGSTOP)
	taken, ok := t.Poll(rig.Patience, func() bool {
		p, _ := t.tryLink(0, guise{name: "frozen", pattern: "fro*"})
		return p != nil
	})
	t.Note("the name was taken after %.1f s: %v", taken.Seconds(), ok)
	a.Signal(syscall.SIGCONT)
	back, _ := t.Poll(15*time.Second, func() bool { return t.both("frozen", small) == "200 frozen/t; over the bus 200 frozen/t" })
	t.Note("the agent was back after %.1f s", back.Seconds())
	return t.both("frozen", small)
}

// whileRedisIsAway has a pattern's token come for a name while nobody can look
// up whose it is.
func whileRedisIsAway(t *trial) string {
	resume := t.pauseRedis()
	t.Wait(3 * time.Second)
	_, seen := t.tryLink(0, guise{name: "victim", pattern: "vic*"})
	t.Note("while Redis was away: %s", seen)
	during := t.scrape(0, "victim", small)
	resume()
	t.Wait(5 * time.Second)
	return during.String() + ", and after it " + t.both("victim", small)
}
