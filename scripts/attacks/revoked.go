package main

import (
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// revokedAttacks are of those whose tokens were taken back. Each has a name of its own,
// for what is taken back stays so.
func revokedAttacks() []attack {
	const no = "401 unauthorized"
	return []attack{
		{name: "revoked-deaf", sent: "nothing, reading nothing either, by a link whose token is taken back", expected: "gone within 5 s; then " + no, run: func(t *trial) string {
			g := guise{name: "deaf-thief", deaf: true, mute: true}
			g.token = t.stack.mint(token.Claims{Role: token.Agent, Name: g.name})
			before := t.stack.Replicas[0].Links()
			t.link(0, g)
			began := time.Now()
			t.revoke("-agent", g.name)
			if _, ok := t.Poll(5*time.Second-time.Since(began), func() bool { return t.stack.Replicas[0].Links() <= before }); !ok {
				return "there after 5 s"
			}
			_, then := t.tryLink(0, g)
			return "gone within 5 s; then " + then
		}},
		{name: "revoked-half-linked", sent: "HELLO, once the token is taken back that the upgrade was granted for", expected: "4007 revoked", run: func(t *trial) string {
			p, seen := t.upgrade(0, guise{name: "half-thief"})
			if p == nil {
				return seen
			}
			t.revoke("-agent", "half-*")
			p.introduce()
			return p.closes(4 * time.Second)
		}},
		{name: "revoked-returns", sent: "1,000 upgrades with a token that was taken back", expected: "1000 × " + no, run: func(t *trial) string {
			g := guise{name: "returning-thief"}
			g.token = t.stack.mint(token.Claims{Role: token.Agent, Name: g.name})
			t.revoke("-agent", g.name)
			return t.many(1000, 64, func(int) string {
				_, seen := t.upgrade(0, g)
				return seen
			})
		}},
		{name: "revoked-pattern", sent: "a token for *, whose holder is taken back under one name, under that and another", expected: no + "; linked", run: func(t *trial) string {
			g := guise{name: "thief-1", token: t.stack.mint(token.Claims{Role: token.Agent, Name: "thief-*"})}
			t.revoke("-agent", g.name)
			_, first := t.tryLink(0, g)
			g.name = "thief-2"
			_, second := t.tryLink(0, g)
			return first + "; " + second
		}},
		{name: "revoked-renewed", sent: "a token that says it was renewed from one that was taken back", expected: no, run: func(t *trial) string {
			g := guise{name: "renewing-thief"}
			first := time.Now().Add(-time.Hour)
			t.revoke("-agent", g.name, "-before", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
			g.token = t.stack.mint(token.Claims{Role: token.Agent, Name: g.name, First: first})
			_, seen := t.tryLink(0, g)
			return seen
		}},
		{name: "revoked-scraper", sent: "a scraper's token, taken back by its ID, at both replicas", expected: "200 victim/t; " + no + ", " + no, run: func(t *trial) string {
			text, c, err := t.stack.keys.Mint(token.Claims{Role: token.Scraper, Name: "thief"}, time.Now())
			t.Must(err)
			t.token = text
			before := t.scrape(0, "victim", small).String()
			t.revoke("-token", c.ID)
			return fmt.Sprintf("%s; %s, %s", before, t.scrape(0, "victim", small), t.scrape(1, "victim", small))
		}},
		{name: "redis-revoked-full", sent: "12,000 revocations, and 12,000 fields that are none, into Redis", expected: "full; 200 victim/t", breaks: true, run: fillRevoked},
	}
}

// revoke takes back, which all replicas must confirm.
func (t *trial) revoke(args ...string) {
	if _, err := t.own.Revoke(args...); err != nil {
		t.Fatalf("revoke: %v", err)
	}
}

// fillRevoked writes what may be written there, and more, and tries to add to it.
func fillRevoked(t *trial) string {
	pipe := t.redis().Pipeline()
	for i := range 12_000 {
		pipe.HSet(t.Ctx, "farscrape:revoked", fmt.Sprintf("agent:default:nobody-%d", i), "1 1 0", fmt.Sprintf("nothing-%d", i), "at all")
	}
	pipe.HSet(t.Ctx, "farscrape:revoked", "stamp", "x")
	_, err := pipe.Exec(t.Ctx)
	t.Must(err)
	t.Until(15*time.Second, "a replica knows as many as it may", func() bool {
		return rig.Metric(t.stack.Replicas[0].Ops, "farscrape_relay_revocations") == wire.MaxRevocations
	})
	said := "there is room"
	if _, err := t.own.Revoke("-agent", "one-more"); err != nil {
		said = "full"
	}
	return said + "; " + t.scrape(0, "victim", small).String()
}
