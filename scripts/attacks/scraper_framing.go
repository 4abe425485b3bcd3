package main

import "strings"

// framingAttacks are requests whose beginning or end is in doubt.
func framingAttacks() []attack {
	const line = "GET /scrape/victim/t HTTP/1.1\n{auth}\n"
	return []attack{
		asking("cl-and-te", "GET with Content-Length and Transfer-Encoding, and a second GET in the body",
			line+"Host: x\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\nGET /scrape/mate/t HTTP/1.1\nHost: x\n{auth}\n\n", "400 bad_request, closed"),
		asking("field-of-1MB", "a header field of 1 MB", line+"Host: x\nA: "+strings.Repeat("x", 1<<20)+"\n\n", "431 bad_request, closed"),
	}
}
