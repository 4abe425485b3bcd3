package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/token"
)

// upgradeAttacks are of those who want a link.
func upgradeAttacks() []attack {
	const bad = "400 bad_request"
	wants := func(name, sent, expected string, g func(*trial) guise) attack {
		return attack{name: "upgrade-" + name, sent: sent, expected: expected, run: func(t *trial) string {
			_, seen := t.tryLink(0, g(t))
			return seen
		}}
	}
	called := func(name, sent, agent, expected string) attack {
		return wants(name, sent, expected, func(*trial) guise { return guise{name: agent, token: "", pattern: "*"} })
	}
	const raw = "GET /agent/connect HTTP/1.1\nHost: x\nAuthorization: Bearer {agent}\nFarscrape-Agent: " + attacker + "\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Protocol: farscrape.v1\n"
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
	return []attack{
		wants("no-token", "no token", "401 unauthorized", func(*trial) guise { return guise{fields: http.Header{"Authorization": nil}} }),
		wants("scraper-token", "a scraper's token", "403 forbidden", func(t *trial) guise { return guise{token: t.token} }),
		wants("expired-token", "an expired token", "401 unauthorized", func(t *trial) guise {
			text, _, err := t.stack.keys.Mint(token.Claims{Role: token.Agent, Name: attacker, Expires: time.Now().Add(-time.Minute)}, time.Now().Add(-time.Hour))
			t.Must(err)
			return guise{token: text}
		}),
		wants("name-of-other", "a token for A, claiming to be B", "403 forbidden", func(t *trial) guise {
			return guise{name: "victim", token: t.stack.mint(token.Claims{Role: token.Agent, Name: attacker})}
		}),
		wants("name-empty", "an empty name", bad, func(*trial) guise { return guise{fields: http.Header{"Farscrape-Agent": {""}}} }),
		called("name-300-bytes", "a name of 300 bytes", strings.Repeat("a", 300), bad),
		called("name-star", "*", "*", bad),
		called("name-homoglyph", "a Cyrillic i in victim", "v\u0456ctim", bad),
		called("name-address", "10.0.0.1", "10.0.0.1", bad),
		called("name-hexadecimal", "0x7f000001", "0x7f000001", bad),
		called("name-dots", "..", "..", bad),
		wants("origin", "Origin: a page on the web, with a good token", "linked", func(*trial) guise {
			return guise{fields: http.Header{"Origin": {"https://evil.example"}}}
		}),
		asking("upgrade-other-version", "another version of the protocol", strings.Replace(raw, "farscrape.v1", "farscrape.v9", 1)+key+"Sec-WebSocket-Version: 13\n\n", "426 bad_request"),
		asking("upgrade-version-8", "WebSocket version 8", raw+key+"Sec-WebSocket-Version: 8\n\n", bad),
		asking("upgrade-no-key", "no Sec-WebSocket-Key", raw+"Sec-WebSocket-Version: 13\n\n", bad),
		asking("upgrade-no-upgrade", "no Upgrade", "GET /agent/connect HTTP/1.1\nHost: x\nAuthorization: Bearer {agent}\nFarscrape-Agent: "+attacker+"\nSec-WebSocket-Protocol: farscrape.v1\n\n", "426 bad_request"),
		asking("upgrade-post", "an upgrade by POST", strings.Replace(raw, "GET", "POST", 1)+key+"Sec-WebSocket-Version: 13\n\n", "405 method"),
		asking("upgrade-body", "an upgrade with a body", raw+key+"Sec-WebSocket-Version: 13\nContent-Length: 5\n\nhello", "400 bad_request, closed"),
		asking("upgrade-early-bytes", "an upgrade, and a text message before its 101", raw+key+"Sec-WebSocket-Version: 13\n\n{TEXT}", "101 -, closed"),
		{name: "upgrade-bad-tokens", sent: "1,000 upgrades with a token that is none", expected: "1000 × 401 unauthorized", run: func(t *trial) string {
			return t.many(1000, 100, func(int) string { // of which most wait for a second
				_, seen := t.upgrade(0, guise{token: "eyJub25l.none.none"})
				return seen
			})
		}},
		{name: "upgrade-bad-names", sent: "1,000 upgrades with names that the token does not allow", expected: "1000 × 403 forbidden", run: func(t *trial) string {
			secret := t.stack.mint(token.Claims{Role: token.Agent, Name: attacker})
			return t.many(1000, 4, func(int) string {
				_, seen := t.upgrade(0, guise{name: "victim", token: secret})
				return seen
			})
		}},
	}
}
