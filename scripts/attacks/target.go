package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// site is the agent whose target is hostile. It is honest, linked to the first
// replica, and scraped through the second.
const site = "site"

// targetAttacks are of targets that answer badly, or not.
func targetAttacks() []attack {
	says := func(name, sent, expected, answer string) attack {
		return answering(name, sent, expected, func(c *net.TCPConn) { say(c, answer) })
	}
	const bad, ok = "502 target_bad_answer", "HTTP/1.1 200 OK\n"
	status := func(name, line string) attack {
		return says("status-"+name, line, bad, line+"\nContent-Length: 0\n\n")
	}
	length := fmt.Sprintf("Content-Length: %d\n", len(ofAttacker))
	megabyte := strings.Repeat("x", 1<<20)
	return []attack{
		says("garbage", "what is no HTTP", bad, "hello\n\n"),
		says("http2", "HTTP/2's settings", bad, "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"),
		status("0", "HTTP/1.1 0 X"), status("000", "HTTP/1.1 000 X"), status("99", "HTTP/1.1 099 X"), status("101", "HTTP/1.1 101 Switching Protocols"),
		status("999", "HTTP/1.1 999 X"), status("20", "HTTP/1.1 20 X"), status("2000", "HTTP/1.1 2000 X"), status("negative", "HTTP/1.1 -200 X"),
		says("continues", "100 Continue, ten thousand times", bad, strings.Repeat("HTTP/1.1 100 Continue\n\n", 10_000)+ok+length+"\n"+ofAttacker),
		says("nul", "NUL in a field", bad, ok+"A: b{NUL}c\nContent-Length: 0\n\n"),
		says("cr", "CR in a field", bad, ok+"A: b{CR}Set-Cookie: c\nContent-Length: 0\n\n"),
		says("no-colon", "a field without a colon", bad, ok+"hello\nContent-Length: 0\n\n"),
		says("space-before-colon", "a space after a field's name, which goes", `200 "hello"`, ok+"Content-Length : 5\n\nhello"),
		says("field-of-1MB", "a field of 1 MB", bad, ok+"A: "+megabyte+"\n\n"),
		says("endless-header", "a header of 20 MB", bad, ok+strings.Repeat("A: "+megabyte+"\n", 20)),
		says("fields-10000", "10,000 fields", bad, ok+strings.Repeat("A: b\n", 10_000)+"Content-Length: 0\n\n"),
		says("fields-257", "257 fields", bad, ok+strings.Repeat("A: b\n", 256)+length+"\n"+ofAttacker),
		says("short", "less than its Content-Length", bad, ok+"Content-Length: 100\n\nhello"),
		says("long", "more than its Content-Length", "200 mallory", ok+length+"\n{BODY}# more\n"),
		says("two-lengths", "two Content-Lengths", bad, ok+length+"Content-Length: 5\n\n"+ofAttacker),
		says("negative-length", "Content-Length: -1", bad, ok+"Content-Length: -1\n\n"+ofAttacker),
		says("odd-te", "Transfer-Encoding: xchunked", bad, ok+"Transfer-Encoding: xchunked\n\n"+ofAttacker),
		says("chunk-size", "a chunk of size zz", bad, ok+"Transfer-Encoding: chunked\n\nzz\nhello\n0\n\n"),
		says("chunk-2-64", "a chunk of 2⁶⁴ bytes", bad, ok+"Transfer-Encoding: chunked\n\n10000000000000000\nhello\n0\n\n"),
		says("chunk-line-of-1MB", "a chunk's size in 1 MB", bad, ok+"Transfer-Encoding: chunked\n\n"+strings.Repeat("0", 1<<20)+"1\nx\n0\n\n"),
		says("chunk-extensions", "chunks of one byte with 1 kB of extension", bad, ok+"Transfer-Encoding: chunked\n\n"+strings.Repeat("1;"+strings.Repeat("e", 1000)+"\nx\n", 20_000)+"0\n\n"),
		says("chunk-cut", "a chunked body that breaks off", bad, ok+"Transfer-Encoding: chunked\n\n5\nhello\n"),
		says("large-cut", "a body that breaks off after 5 MB", "200 cut, closed", ok+"Content-Length: 30000000\n\n"+strings.Repeat(megabyte, 5)[:5<<20]),
		answering("length-1TB", "Content-Length: 1 TB, of which 5 bytes come", "504 deadline", func(c *net.TCPConn) {
			say(c, ok+"Content-Length: 1099511627776\n\nhello")
			_, _ = c.Read(make([]byte, 1))
		}),
		says("http-1.0", "HTTP/1.0, whose body ends with the connection", "200 mallory", "HTTP/1.0 200 OK\n\n{BODY}"),
		says("redirect-metadata", "302 to the cloud's metadata", "502 target_redirect", "HTTP/1.1 302 Found\nLocation: http://169.254.169.254/latest/meta-data/\nContent-Length: 0\n\n"),
		says("redirect-loop", "302 to itself", "502 target_redirect", "HTTP/1.1 302 Found\nLocation: /x\nContent-Length: 0\n\n"),
		says("redirect-slash-loop", "302 to itself with a slash, for ever", "502 target_redirect", "HTTP/1.1 302 Found\nLocation: /x/\nContent-Length: 0\n\n"),
		says("redirect-file", "302 to file:", "502 target_redirect", "HTTP/1.1 302 Found\nLocation: file:///etc/passwd\nContent-Length: 0\n\n"),
		says("own-401", "401 with a challenge", "401 target", "HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Basic\nContent-Length: 0\n\n"),
		answering("endless", "a body without an end", "200 cut, closed", func(c *net.TCPConn) {
			say(c, ok+"\n")
			for {
				if _, err := c.Write([]byte(megabyte)); err != nil {
					return
				}
			}
		}),
		answering("drip", "a byte a second", "504 deadline", func(c *net.TCPConn) {
			say(c, ok+"Content-Length: 100\n\n")
			for range 10 {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}),
		answering("header-drip", "a header of a byte a second", "504 deadline", func(c *net.TCPConn) {
			for range 10 {
				if _, err := c.Write([]byte("H")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}),
		answering("silent", "nothing", "504 deadline", func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) }),
		answering("closes", "an end", bad, func(*net.TCPConn) {}),
		answering("resets", "a reset", bad, func(c *net.TCPConn) { _ = c.SetLinger(0) }),
		answering("resets-large", "a reset after 3 MB", "200 cut, closed", func(c *net.TCPConn) {
			say(c, ok+"Content-Length: 9999999\n\n"+megabyte+megabyte+megabyte)
			time.Sleep(500 * time.Millisecond)
			_ = c.SetLinger(0)
		}),
		{name: "target-gzip-1000", sent: "100 kB of gzip that is 100 MB", expected: "200, the very bytes", run: gzipBomb},
		{name: "target-of-200MB", sent: "200 MB, where that is allowed", expected: "200, 209715200 bytes", plan: plan{env: "FARSCRAPE_MAX_BODY=256MiB"}, run: sizable},
		{name: "target-fields", sent: "hop-by-hop fields, fields that hold for our origin, and ours", expected: "200 mallory; passed: none", run: targetFields},
		{name: "target-redirect-port", sent: "302 with a slash more, to another port", expected: "502 target_redirect; the other was asked 0 times", run: redirectElsewhere},
		reaching("refused", "nobody listens", "502 target_refused", "http://127.0.0.1:1/"),
		reaching("dns", "a name that is none", "502 target_dns", "http://no-such-host.invalid/"),
		{name: "target-tls-plain", sent: "no TLS where it is declared", expected: "502 target_tls", run: func(t *trial) string {
			return t.scrapeSite("https://" + t.listen(func(c *net.TCPConn) { say(c, "HTTP/1.1 400 Bad Request\n\n") }) + "/x").String()
		}},
		{name: "target-tls-unknown", sent: "a certificate that nobody signed", expected: "502 target_tls", run: func(t *trial) string {
			server := httptest.NewTLSServer(http.NotFoundHandler())
			t.Cleanup(server.Close)
			server.Config.ErrorLog = nil
			return t.scrapeSite(server.URL).String()
		}},
	}
}

// answering is an attack whose target does that with each connection, once it
// has the request.
func answering(name, sent, expected string, with func(*net.TCPConn)) attack {
	return attack{name: "target-" + name, sent: sent, expected: expected, run: func(t *trial) string {
		return t.scrapeSite("http://" + t.listen(with) + "/x").String()
	}}
}

func reaching(name, sent, expected, url string) attack {
	return attack{name: "target-" + name, sent: sent, expected: expected, run: func(t *trial) string { return t.scrapeSite(url).String() }}
}

// scrapeSite scrapes an agent that declares this one target, with 2 s to answer.
func (t *trial) scrapeSite(url string) outcome {
	t.agentAt(site, t.stack.Replicas[0].Addr, "FARSCRAPE_TARGETS=x="+url)
	return t.scrape(1, site, "x")
}

// listen serves TCP until the trial ends, whoever has sent a request.
func (t *trial) listen(with func(*net.TCPConn)) (addr string) {
	return t.Accept(func(conn *net.TCPConn) {
		_ = conn.SetDeadline(time.Now().Add(rig.Patience))
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			with(conn)
		}
	})
}

// say writes an answer, whose lines end as HTTP's do; {BODY} is one of the
// attacker's, as it is.
func say(c *net.TCPConn, answer string) {
	_, _ = c.Write([]byte(strings.NewReplacer("\n", "\r\n", "{NUL}", "\x00", "{CR}", "\r", "{BODY}", ofAttacker).Replace(answer)))
}

func gzipBomb(t *trial) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 100 {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	o := t.scrapeSite("http://" + t.listen(func(c *net.TCPConn) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", b.Len())
		_, _ = c.Write(b.Bytes())
	}) + "/x")
	if o.status != http.StatusOK || o.header.Get("Content-Encoding") != "gzip" || !bytes.Equal(o.body, b.Bytes()) {
		return fmt.Sprintf("%s, %d of %d bytes", o, len(o.body), b.Len())
	}
	return "200, the very bytes"
}

// sizable scrapes a large body and counts it, by a reader that keeps up.
func sizable(t *trial) string {
	block := make([]byte, 1<<20)
	t.agentAt(site, t.stack.Replicas[0].Addr, "FARSCRAPE_TARGETS=x=http://"+t.listen(func(c *net.TCPConn) {
		say(c, "HTTP/1.1 200 OK\nContent-Length: 209715200\n\n")
		for range 200 {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})+"/x")
	req, err := http.NewRequestWithContext(t.Ctx, "GET", "http://"+t.stack.Replicas[1].Edge+"/scrape/"+site+"/x", nil)
	t.Must(err)
	req.Header.Set("Authorization", "Bearer "+t.token)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "25")
	resp, err := http.DefaultClient.Do(req)
	t.Must(err)
	defer resp.Body.Close()
	n, _ := io.Copy(io.Discard, resp.Body)
	return fmt.Sprintf("%d, %d bytes", resp.StatusCode, n)
}

// targetFields are those that concern the connection, our origin or us.
func targetFields(t *trial) string {
	fields := []string{"Connection: X-Secret, close", "X-Secret: 1", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Upgrade: h2c",
		"Set-Cookie: a=b", "Refresh: 0;url=//evil.example", "Link: </x>; rel=preload", "Accept-CH: DPR", "Clear-Site-Data: \"*\"", "Access-Control-Allow-Origin: *",
		"Service-Worker-Allowed: /", "Strict-Transport-Security: max-age=0", "Location: //evil.example", "Farscrape-Error: ok"}
	o := t.scrapeSite("http://" + t.listen(func(c *net.TCPConn) {
		say(c, "HTTP/1.1 200 OK\n"+strings.Join(fields, "\n")+fmt.Sprintf("\nContent-Type: text/plain\nContent-Length: %d\n\n", len(ofAttacker))+"{BODY}")
	}) + "/x")
	return o.String() + "; passed: " + passed(o.header, fields)
}

// passed are the names of the fields, Name: value, that an answer has.
func passed(h http.Header, fields []string) string {
	var names []string
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if slices.Contains(h.Values(name), value) {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

func redirectElsewhere(t *trial) string {
	var asked atomic.Int64
	other := t.listen(func(c *net.TCPConn) { asked.Add(1); say(c, "HTTP/1.1 200 OK\nContent-Length: 0\n\n") })
	o := t.scrapeSite("http://" + t.listen(func(c *net.TCPConn) {
		say(c, "HTTP/1.1 302 Found\nLocation: http://"+other+"/x/\nContent-Length: 0\n\n")
	}) + "/x")
	return fmt.Sprintf("%s; the other was asked %d times", o, asked.Load())
}
