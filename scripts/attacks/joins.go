package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// joinAttacks are of those who join, or would like to.
func joinAttacks() []attack {
	const no = "401 unauthorized"
	shows := func(name, sent, expected string, by func(*trial) string) attack {
		return attack{name: name, sent: sent, expected: expected, run: func(t *trial) string {
			return t.join(0, by(t), "joins-"+name, wire.NewJoinID())
		}}
	}
	const forbidden = "403 forbidden"
	return []attack{
		shows("join-no-token", "no join token", no, func(*trial) string { return "" }),
		shows("join-forged", "a join token signed by another key", no, func(*trial) string {
			other, err := token.ParseKeys([]byte(strings.Repeat("another key ", 3)))
			if err != nil {
				panic(err)
			}
			signed, _, _ := other.Mint(token.Claims{Role: token.Join, Name: "*", Uses: 9, Expires: time.Now().Add(time.Hour)}, time.Now())
			return signed
		}),
		shows("join-by-agent", "an agent's token", forbidden, func(t *trial) string {
			return t.stack.mint(token.Claims{Role: token.Agent, Name: "*"})
		}),
		shows("join-by-scraper", "a scraper's token", forbidden, func(t *trial) string { return t.token }),
		shows("join-from-elsewhere", "a stolen join token, which is for another network", forbidden, func(t *trial) string {
			return t.joinToken(1, func(c *token.Claims) { c.From = "192.0.2.0/24" })
		}),
		shows("join-old", "a join token that is older than Redis's memory", forbidden, func(t *trial) string {
			return t.joinTokenOf(time.Now().AddDate(-10, 0, 0), 1, func(c *token.Claims) { c.Expires = time.Now().Add(time.Hour) })
		}),
		shows("join-ahead", "a join token of tomorrow", forbidden, func(t *trial) string {
			return t.joinTokenOf(time.Now().AddDate(0, 0, 1), 1)
		}),
		{name: "join-links", sent: "a join token, to open a link", expected: forbidden, run: func(t *trial) string {
			_, seen := t.upgrade(0, guise{name: "joins-links", token: t.joinToken(1)})
			return seen
		}},
		{name: "join-scrapes", sent: "a join token, to scrape", expected: forbidden, run: func(t *trial) string {
			return t.send("GET /scrape/victim/t HTTP/1.1\nHost: x\nAuthorization: Bearer " + t.joinToken(1) + "\n\n").String()
		}},
		{name: "join-as-victim", sent: "joins as an agent that is linked, as one with another's letters, as the relay", expected: forbidden + ", 400 bad_request, 400 bad_request", run: func(t *trial) string {
			by := t.joinToken(9)
			var seen []string
			for _, name := range []string{"victim", "v\u0131ctim", "127.0.0.1"} {
				seen = append(seen, t.join(0, by, name, wire.NewJoinID()))
			}
			return strings.Join(seen, ", ")
		}},
		{name: "join-replayed", sent: "one host's request to join, 1,000 times at all replicas, by a token for one", expected: "1000 × 200; another: " + forbidden, bound: bound{lines: 60}, run: func(t *trial) string {
			by, id := t.joinToken(1), wire.NewJoinID()
			seen := t.many(1000, 8, func(i int) string { return t.joinUntil(i, by, "joins-replayed", id) })
			return seen + "; another: " + t.joinUntil(0, by, "joins-replayed-2", wire.NewJoinID())
		}},
		{name: "join-crowd", sent: "2,000 hosts that join by a token for 50, at all replicas", expected: "1950 × 403 forbidden, 50 × 200", bound: bound{lines: 60}, run: func(t *trial) string {
			by := t.joinToken(50)
			return t.many(2000, 64, func(i int) string { return t.joinUntil(i, by, fmt.Sprint("joins-crowd-", i), wire.NewJoinID()) })
		}},
		{name: "join-revoked", sent: "a host whose tokens are taken back joins anew, as itself and as another", expected: "200, " + no + ", " + no, run: func(t *trial) string {
			by, id := t.joinToken(9), wire.NewJoinID()
			seen := t.join(0, by, "joins-revoked", id)
			t.revoke("-agent", "joins-revoked")
			return seen + ", " + t.join(0, by, "joins-revoked", id) + ", " + t.join(0, by, "joins-revoked", wire.NewJoinID())
		}},
		{name: "join-endless-body", sent: "a join's body of 100 MB", expected: "400 bad_request, closed", run: func(t *trial) string {
			return t.send("POST /agent/join HTTP/1.1\nHost: x\nAuthorization: Bearer " + t.joinToken(1) + "\nContent-Length: 100000000\n\n" + strings.Repeat("{", 64<<10)).String()
		}},
		{name: "join-half-body", sent: "10,000 sockets that stop in the middle of a join's body", expected: "all ended within 15 s", bound: bound{memory: 200}, run: func(t *trial) string {
			return stopAfter("POST /agent/join HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + t.joinToken(1) + "\r\nContent-Length: 100\r\n\r\n{\"name\":")(t)
		}},
	}
}

// joinToken mints one that any host may join by, as farscrape-relay token does: at a whole
// second, after the replicas began to count.
func (t *trial) joinToken(uses int, change ...func(*token.Claims)) string {
	at := time.Now().Truncate(time.Second).Add(time.Second)
	t.Wait(time.Until(at))
	return t.joinTokenOf(at, uses, change...)
}

func (t *trial) joinTokenOf(at time.Time, uses int, change ...func(*token.Claims)) string {
	c := token.Claims{Role: token.Join, Name: "*", Uses: uses, Expires: at.Add(time.Hour)}
	for _, f := range change {
		f(&c)
	}
	signed, _, err := t.stack.keys.Mint(c, at)
	t.Must(err)
	return signed
}

// join asks a replica once, and tells its answer.
func (t *trial) join(replica int, by, name string, id wire.JoinID) string {
	seen, _ := t.askToJoin(replica, by, name, id)
	return seen
}

// joinUntil asks one replica after the other until none wants to be asked again.
func (t *trial) joinUntil(replica int, by, name string, id wire.JoinID) string {
	for ; ; replica++ {
		seen, again := t.askToJoin(replica%len(t.stack.Replicas), by, name, id)
		if !again || t.Ctx.Err() != nil {
			return seen
		}
		t.Wait(100 * time.Millisecond)
	}
}

func (t *trial) askToJoin(replica int, by, name string, id wire.JoinID) (seen string, again bool) {
	body, err := json.Marshal(wire.JoinRequest{Name: name, JoinID: id})
	t.Must(err)
	req, err := http.NewRequestWithContext(t.Ctx, http.MethodPost, "http://"+t.stack.Replicas[replica].Addr+wire.JoinPath, bytes.NewReader(body))
	t.Must(err)
	if by != "" {
		req.Header.Set("Authorization", "Bearer "+by)
	}
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "no answer", false
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return "200", false
	}
	return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get(wire.HeaderError)), resp.Header.Get("Retry-After") != ""
}
