package main

import "strings"

// addressAttacks are requests for what nobody declared, or for no one thing.
func addressAttacks() []attack {
	const rest = " HTTP/1.1\nHost: x\n{auth}\nFarscrape-Token: {token}\n\n"
	path := func(name, sent, path, expected string) attack {
		return asking(name, sent, "GET "+path+rest, expected)
	}
	method := func(name, line, expected string) attack {
		return asking(name, line, line+rest, expected)
	}
	const bad, unknown, undeclared = "400 bad_request", "404 agent_unknown", "403 target_not_declared"
	return []attack{
		method("options-star", "OPTIONS *", "405 method"),
		method("connect", "CONNECT victim:443", "405 method"),
		method("trace", "TRACE /scrape/victim/t", "405 method"),
		method("head", "HEAD /scrape/victim/t", "405 method"),
		method("lower-case-get", "get /scrape/victim/t", "405 method"),
		path("userinfo", "a user in the target", "http://me:secret@victim:{port}/victim/t", bad),
		path("gopher", "gopher:", "gopher://victim:{port}/victim/t", bad),
		path("file", "file:", "file:///etc/passwd", bad),
		path("https-target", "an absolute https:", "https://victim:{port}/victim/t", bad),
		asking("uri-not-host", "the absolute URI and Host differ", "GET http://victim:{port}/victim/t HTTP/1.1\nHost: mate:{port}\nFarscrape-Token: {token}\n\n", "200 victim/t"),
		path("port-0", "port 0", "http://victim:0/", bad),
		path("port-65536", "port 65536", "http://victim:65536/", bad),
		path("address-127.1", "127.1", "http://127.1:{port}/victim/t", unknown),
		path("address-hexadecimal", "0x7f000001", "http://0x7f000001:{port}/victim/t", unknown),
		path("address-decimal", "2130706433", "http://2130706433:{port}/victim/t", unknown),
		path("address-mapped-metadata", "[::ffff:169.254.169.254]", "http://[::ffff:169.254.169.254]/latest/meta-data", unknown),
		path("address-metadata", "169.254.169.254", "http://169.254.169.254/latest/meta-data", unknown),
		path("address-loopback", "the target's own address, which no agent goes by", "http://127.0.0.1:{port}/victim/t", unknown),
		path("address-of-relay", "the relay's own address", "http://{relay}/metrics", unknown),
		path("port-undeclared", "a port that the agent did not declare", "http://victim:22/", undeclared),
		path("path-undeclared", "a path that the agent did not declare", "http://victim:{port}/stranger/t", undeclared),
		path("rest-of-no-subtree", "a path below a target that has none", "/scrape/victim/t/etc/passwd", undeclared),
		path("dots-encoded-slashes", "%2f..%2f", "/scrape/victim/tree/a%2f..%2f..%2ft", bad),
		path("dots", "/../", "/scrape/victim/tree/../../mate/t", bad),
		path("dots-encoded", "%2e%2e", "/scrape/victim/tree/%2e%2e/t", bad),
		path("dots-backslash", `..%5c`, "/scrape/victim/tree/..%5c..%5ct", bad),
		path("dots-parameters", "..;/", "/scrape/victim/tree/..;a=b/t", bad),
		path("dots-overlong", "overlong UTF-8", "/scrape/victim/tree/%c0%ae%c0%ae/t", bad),
		path("double-slash", "//", "/scrape/victim/tree//t", bad),
		path("nul-encoded", "%00", "/scrape/victim/tree/a%00b", bad),
		path("newline-encoded", "%0d%0a", "/scrape/victim/tree/a%0d%0ab", bad),
		path("backslash", `a backslash as it is`, `/scrape/victim/tree/a\b`, bad),
		path("double-encoded", "%252e%252e, which is no dots to anybody who decodes once", "/scrape/victim/tree/%252e%252e/t", "200 victim/tree"),
		path("agent-empty", "an empty name", "/scrape//t", bad),
		path("agent-300-bytes", "a name of 300 bytes", "/scrape/"+strings.Repeat("a", 300)+"/t", bad),
		path("agent-star", "*", "/scrape/*/t", bad),
		path("agent-newline", "a newline in the name", "/scrape/vic%0atim/t", bad),
		path("agent-homoglyph", "a Kelvin sign", "/scrape/%E2%84%AA/t", bad),
		path("agent-cyrillic", "a Cyrillic i in victim", "/scrape/v%D1%96ctim/t", bad),
		path("agent-mixed-case", "ViCTim", "/scrape/ViCTim/t", "200 victim/t"),
		path("agent-of-other-tenant", "another tenant's agent", "/scrape/stranger/t", unknown),
		asking("proxy-of-other-tenant", "another tenant's agent, in proxy mode", "GET http://stranger:{port}/stranger/t HTTP/1.1\nHost: x\nFarscrape-Token: {token}\n\n", unknown),
		path("target-dots", "the target ..", "/scrape/victim/..", bad),
		path("scrape-root", "no target", "/scrape/", bad),
		path("sd-bad-glob", "/sd?agent=[", "/sd?agent=%5B", bad),
		path("sd-bad-mode", "/sd?mode=x", "/sd?mode=x", bad),
		asking("delete-linked", "DELETE of an agent that is linked", "DELETE /api/v1/agents/mate"+rest, bad),
		asking("forwarded-host", "X-Forwarded-Host of nobody who is trusted", "GET /sd?agent=victim HTTP/1.1\nHost: {relay}\n{auth}\nX-Forwarded-Host: evil.example\nX-Forwarded-Proto: https\n\n", "200 list"),
	}
}
