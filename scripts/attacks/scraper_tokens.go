package main

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/scripts/rig"
)

// tokenAttacks are tokens that are none, or another's, and places where a good
// one must not get to.
func tokenAttacks() []attack {
	shown := func(name, sent, expected string, make func(*trial) string) attack {
		return attack{name: name, sent: sent, expected: expected, run: func(t *trial) string {
			return t.send("GET /scrape/victim/t HTTP/1.1\nHost: x\nAuthorization: Bearer " + make(t) + "\n\n").String()
		}}
	}
	const no = "401 unauthorized"
	year := float64(time.Now().Add(365 * 24 * time.Hour).Unix())
	claims := func(change jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{"aud": "farscrape", "role": "scraper", "sub": "attacks", "exp": year, "jti": "forged"}
		for name, value := range change {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
		return c
	}
	all := []attack{
		shown("token-none", "no token", no, func(*trial) string { return "" }),
		shown("token-alg-none", "alg=none", no, func(t *trial) string {
			return t.forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(nil))
		}),
		shown("token-other-algorithm", "HS512 with the right key", no, func(t *trial) string {
			return t.forge(jwt.SigningMethodHS512, []byte(rig.Key), claims(nil))
		}),
		shown("token-public-key", "what is public, the key's ID, as the secret", no, func(t *trial) string {
			return t.forge(jwt.SigningMethodHS256, []byte(t.stack.keys.KeyIDs()[0]), claims(nil))
		}),
		shown("token-empty-key", "signed with an empty key", no, func(t *trial) string { return t.forge(jwt.SigningMethodHS256, []byte{}, claims(nil)) }),
		shown("token-no-audience", "no aud", no, func(t *trial) string {
			return t.forge(jwt.SigningMethodHS256, []byte(rig.Key), claims(jwt.MapClaims{"aud": nil}))
		}),
		shown("token-other-audience", "another's aud", no, func(t *trial) string {
			return t.forge(jwt.SigningMethodHS256, []byte(rig.Key), claims(jwt.MapClaims{"aud": "grafana"}))
		}),
		shown("token-in-two-parts", "two tokens in one field", no, func(t *trial) string { return t.token + ", " + t.token }),
		shown("token-expired", "an expired one", no, func(t *trial) string {
			return t.forge(jwt.SigningMethodHS256, []byte(rig.Key), claims(jwt.MapClaims{"exp": float64(time.Now().Add(-time.Minute).Unix())}))
		}),
		shown("token-no-role", "no role", no, func(t *trial) string {
			return t.forge(jwt.SigningMethodHS256, []byte(rig.Key), claims(jwt.MapClaims{"role": nil}))
		}),
		shown("token-changed", "a good one with another tenant's claims", no, func(t *trial) string {
			part := strings.Split(t.token, ".")
			part[1] = strings.Split(t.stack.scraperToken(otherTenant), ".")[1]
			return strings.Join(part, ".")
		}),
		shown("token-of-agent", "an agent's token", "403 forbidden", func(t *trial) string {
			return t.stack.mint(token.Claims{Role: token.Agent, Name: "victim"})
		}),
		shown("token-of-other-tenant", "another tenant's token", "404 agent_unknown", func(t *trial) string { return t.stack.scraperToken(otherTenant) }),
		shown("token-of-other-agents", "a token for other agents", "404 agent_unknown", func(t *trial) string {
			return t.stack.mint(token.Claims{Role: token.Scraper, Name: "attacks", Agents: "edge-*"})
		}),
		{name: "token-as-basic-user", sent: "a token as Basic's user, in both modes, as scrapers have it that hide passwords", expected: "200 victim/t; 200 victim/t", run: func(t *trial) string {
			user := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(t.token+":<secret>"))
			return t.send("GET /scrape/victim/t HTTP/1.1\nHost: x\n"+user+"\n\n").String() + "; " +
				t.send("GET http://victim:{port}/victim/t HTTP/1.1\nHost: x\nProxy-"+user+"\n\n").String()
		}},
		asking("metrics-elsewhere", "/metrics by nobody, where OPS_LISTEN has it", "GET /metrics HTTP/1.1\nHost: {relay}\n\n", "404 agent_unknown"),
		asking("pprof", "/debug/pprof/ where scrapers come in", "GET /debug/pprof/ HTTP/1.1\nHost: {relay}\n{auth}\n\n", "404 agent_unknown"),
		asking("sd-without-token", "/sd by nobody", "GET /sd HTTP/1.1\nHost: {relay}\n\n", no),
	}
	return append(all, leakAttacks()...)
}

// forge signs claims with a header as ours has it.
func (t *trial) forge(method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	made := jwt.NewWithClaims(method, c)
	made.Header["kid"] = t.stack.keys.KeyIDs()[0]
	text, err := made.SignedString(key)
	t.Must(err)
	return text
}

// leakAttacks look for our token in what a proxy-mode target gets.
func leakAttacks() []attack {
	basic := base64.StdEncoding
	var all []attack
	for _, v := range []struct {
		name, sent string
		field      func(token string) string
	}{
		{"leak-bearer", "the token as Authorization: Bearer", func(s string) string { return "Authorization: Bearer " + s }},
		{"leak-bearer-tab", "after Bearer and a tab", func(s string) string { return "Authorization: Bearer\t" + s }},
		{"leak-token-scheme", "as Authorization: Token", func(s string) string { return "Authorization: Token " + s }},
		{"leak-basic-user", "as Basic's user", func(s string) string { return "Authorization: Basic " + basic.EncodeToString([]byte(s+":x")) }},
		{"leak-basic-password", "as Basic's password", func(s string) string { return "Authorization: Basic " + basic.EncodeToString([]byte("x:"+s)) }},
		{"leak-basic-unpadded", "as Basic's password, unpadded", func(s string) string {
			return "Authorization: Basic " + base64.RawStdEncoding.EncodeToString([]byte("xx:"+s))
		}},
		{"leak-cookie", "as a Cookie", func(s string) string { return "Cookie: a=b; token=" + s }},
		{"leak-underscore", "as Farscrape_Token", func(s string) string { return "Farscrape_Token: " + s }},
		{"leak-x-field", "as X-Token, of an agent", func(s string) string { return "X-Token: " + s }},
	} {
		all = append(all, attack{name: v.name, sent: v.sent, expected: "200 victim/t; no token at the target", run: func(t *trial) string {
			secret := t.token
			if v.name == "leak-x-field" {
				secret = t.stack.mint(token.Claims{Role: token.Agent, Name: "mate"})
			}
			o := t.send("GET http://victim:{port}/victim/t HTTP/1.1\nHost: x\nFarscrape-Token: {token}\n" + v.field(secret) + "\n\n")
			return o.String() + "; " + leaked(t.stack.targets.got("victim", small).Header)
		}})
	}
	all = append(all, attack{name: "leak-proxy-authorization", sent: "as Proxy-Authorization, which admits", expected: "200 victim/t; no token at the target", run: func(t *trial) string {
		o := t.send("GET http://victim:{port}/victim/t HTTP/1.1\nHost: x\nProxy-Authorization: Bearer {token}\n\n")
		return o.String() + "; " + leaked(t.stack.targets.got("victim", small).Header)
	}})
	return append(all, attack{name: "leak-foreign", sent: "a password of the target's own", expected: "200 victim/t; Basic dXNlcjpwYXNz at the target", run: func(t *trial) string {
		o := t.send("GET http://victim:{port}/victim/t HTTP/1.1\nHost: x\nFarscrape-Token: {token}\nAuthorization: Basic dXNlcjpwYXNz\n\n")
		return o.String() + "; " + t.stack.targets.got("victim", small).Header.Get("Authorization") + " at the target"
	}})
}

// leaked looks for a JSON Web Token in a header, as it is and in Base64, where its
// beginning reads in one of three ways.
func leaked(header http.Header) string {
	for name, values := range header {
		for _, v := range values {
			for _, trace := range []string{"eyJhbG", "ZXlKaGJH", "V5SmhiR", "leUpoYk"} {
				if strings.Contains(v, trace) {
					return "a token at the target, in " + name
				}
			}
		}
	}
	return "no token at the target"
}
