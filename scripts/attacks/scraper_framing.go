package main

import "strings"

// framingAttacks are requests whose beginning or end is in doubt.
func framingAttacks() []attack {
	const line = "GET /scrape/victim/t HTTP/1.1\n"
	const get = line + "Host: x\n{auth}\n"
	const second = "GET /scrape/victim/t HTTP/1.1\nHost: x\n{auth}\n\n"
	const chunked = "Transfer-Encoding: chunked\n"
	refused := "400 bad_request, closed"
	return []attack{
		asking("cl-and-te", "GET with Content-Length and Transfer-Encoding, and a GET in the body",
			get+"Content-Length: 5\n"+chunked+"\n0\n\n"+second, refused),
		asking("post-te-and-cl", "POST with Transfer-Encoding and Content-Length, and a GET in the body",
			"POST /scrape/victim/t HTTP/1.1\nHost: x\n{auth}\n"+chunked+"Content-Length: 5\n\n0\n\n"+second, "405 method, closed"),
		asking("post-body", "POST with a body that is a GET", "POST /sd HTTP/1.1\nHost: x\n{auth}\nContent-Length: 500\n\n"+second, "405 method, closed"),
		asking("two-lengths", "two Content-Lengths", get+"Content-Length: 5\nContent-Length: 6\n\nhello", refused),
		asking("negative-length", "Content-Length: -5", get+"Content-Length: -5\n\n", refused),
		asking("odd-te", "Transfer-Encoding: xchunked", get+"Transfer-Encoding: xchunked\n\n", "501 bad_request, closed"),
		asking("get-body", "a scrape with a body", get+"Content-Length: 5\n\nhello", refused),
		asking("get-chunked-body", "a scrape with a chunked body", get+chunked+"\n5\nhello\n0\n\n", refused),
		asking("sd-body", "GET /sd with a body", "GET /sd HTTP/1.1\nHost: x\n{auth}\nContent-Length: 5\n\nhello", refused),
		asking("endless-body", "a scrape with 60 MB of chunks", get+chunked+"\n"+strings.Repeat("8000\n"+strings.Repeat("x", 0x8000)+"\n", 1800), refused),
		asking("expect-continue", "Expect: 100-continue with a body", get+"Expect: 100-continue\nContent-Length: 5\n\nhello", refused),
		asking("expect-nonsense", "Expect: 200-ok", get+"Expect: 200-ok\n\n", "417 bad_request, closed"),
		asking("bare-lf", "lines that end in LF only", "GET /scrape/victim/t HTTP/1.1{LF}Host: x{LF}{auth}{LF}{LF}", "200 victim/t"),
		asking("nul-in-field", "NUL in a field", get+"A: {NUL}\n\n", refused),
		asking("nul-in-path", "NUL in the path", "GET /scrape/victim/t{NUL} HTTP/1.1\nHost: x\n{auth}\n\n", refused),
		asking("cr-in-path", "CR in the path", "GET /scrape/victim/t?a={CR}b HTTP/1.1\nHost: x\n{auth}\n\n", refused),
		asking("space-before-colon", "a space after a field's name", get+"Content-Length : 5\n\nhello", refused),
		asking("no-host", "no Host", line+"{auth}\n\n", refused),
		asking("two-hosts", "two Hosts", get+"Host: mate\n\n", refused),
		asking("bad-host", "Host: a b", line+"{auth}\nHost: a b\n\n", refused),
		asking("http-0.9", "a request without a version", "GET /scrape/victim/t\n\n", refused),
		asking("http-3.0", "HTTP/3.0", "GET /scrape/victim/t HTTP/3.0\nHost: x\n{auth}\n\n", "505 bad_request, closed"),
		asking("http2-preface", "HTTP/2's connection preface", "PRI * HTTP/2.0\n\nSM\n\n", "405 method, closed"),
		asking("tls-hello", "a TLS handshake on the plain port", "{TLS}"+strings.Repeat("x", 200)+"\n\n", refused),
		asking("fields-10000", "10,000 fields", get+strings.Repeat("a: b\n", 10_000)+"\n", "400 bad_request"),
		asking("field-of-1MB", "a field of 1 MB", get+"A: "+strings.Repeat("x", 1<<20)+"\n\n", "431 bad_request, closed"),
		asking("path-of-1MB", "a path of 1 MB", "GET /scrape/victim/tree/"+strings.Repeat("x", 1<<20)+" HTTP/1.1\nHost: x\n{auth}\n\n", "431 bad_request, closed"),
		asking("parameters-65000", "65,000 parameters", "GET /scrape/victim/t?"+strings.Repeat("a&", 65_000)+" HTTP/1.1\nHost: x\n{auth}\n\n", "431 bad_request, closed"),
		asking("token-of-60kB", "a token of 60 kB", line+"Host: x\nAuthorization: Bearer "+strings.Repeat("x", 60_000)+"\n\n", "401 unauthorized"),
		asking("pipelined", "a hundred requests before the first answer is read", strings.Repeat(get+"\n", 100), "200 victim/t, and 99 answers more"),
		folded(),
	}
}

// folded looks at what becomes of a field on two lines: one, as RFC 9112 has it.
func folded() attack {
	return attack{name: "obs-fold", sent: "a field that goes on in the next line", expected: `200 victim/t; the target got "a b"`, run: func(t *trial) string {
		o := t.send("GET /scrape/victim/t HTTP/1.1\nHost: x\n{auth}\nX-Folded: a\n b\n\n")
		return o.String() + `; the target got "` + t.stack.targets.got("victim", small).Header.Get("X-Folded") + `"`
	}}
}
