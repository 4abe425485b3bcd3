package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestBadInput sends what no client should. Some of it net/http refuses before
// we see it; all of it must end in a failure, and the connection with it where
// its framing is in doubt.
func TestBadInput(t *testing.T) {
	b := newBench(t)
	const line = "GET /scrape/edge-1/node HTTP/1.1\r\n"
	auth := "Authorization: Bearer " + b.scraper + "\r\n"
	for name, request := range map[string]string{
		"CL and TE":          line + auth + "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /scrape/edge-2/x HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"TE and CL":          line + auth + "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"two CLs":            line + auth + "Host: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"an odd TE":          line + auth + "Host: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
		"a body":             line + auth + "Host: x\r\nContent-Length: 5\r\n\r\nhello",
		"a chunked body":     line + auth + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"negative CL":        line + auth + "Host: x\r\nContent-Length: -5\r\n\r\n",
		"two Hosts":          line + auth + "Host: x\r\nHost: y\r\n\r\n",
		"no Host":            line + auth + "\r\n",
		"a bad Host":         line + auth + "Host: a b\r\n\r\n",
		"NUL in a field":     line + auth + "Host: x\r\nA: \x00\r\n\r\n",
		"NUL in the path":    "GET /scrape/edge-1/node\x00 HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"a space in a name":  line + auth + "Host: x\r\nA : b\r\n\r\n",
		"HTTP/0.9":           "GET /scrape/edge-1/node\r\n\r\n",
		"HTTP/3.0":           "GET /scrape/edge-1/node HTTP/3.0\r\n" + auth + "Host: x\r\n\r\n",
		"10,000 fields":      line + auth + "Host: x\r\n" + strings.Repeat("a: b\r\n", 10_000) + "\r\n",
		"a 1 MB field":       line + auth + "Host: x\r\nA: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"a 1 MB path":        "GET /scrape/edge-1/node/" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"a 1 MB token":       line + "Authorization: Bearer " + strings.Repeat("x", 1<<20) + "\r\nHost: x\r\n\r\n",
		"a 60 KB token":      line + "Authorization: Bearer " + strings.Repeat("x", 60_000) + "\r\nHost: x\r\n\r\n",
		"an agent's name *":  "GET /scrape/*/node HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"300 bytes of agent": "GET /scrape/" + strings.Repeat("a", 300) + "/node HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"a newline in agent": "GET /scrape/a%0ab/node HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"a homoglyph":        "GET /scrape/%E2%84%AA/node HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"an IP for agent":    "GET /scrape/10.0.0.1/node HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"0x7f000001":         "GET /scrape/0x7f000001/node HTTP/1.1\r\n" + auth + "Host: x\r\n\r\n",
		"127.1":              "GET http://127.1/ HTTP/1.1\r\nFarscrape-Token: " + b.agent + "\r\nHost: x\r\n\r\n",
	} {
		o := b.sendBytes(t, request)
		if o.StatusCode < 400 {
			t.Errorf("%s: %d", name, o.StatusCode)
		}
		if strings.Contains(request, "Content-Length") && !o.Close {
			t.Errorf("%s: the connection stays open", name)
		}
	}
	if s := b.last(); s != nil {
		t.Errorf("a target was asked: %+v", s)
	}
}

// What is odd, but has one meaning only, passes.
func TestOddInput(t *testing.T) {
	b := newBench(t)
	auth := "Authorization: Bearer " + b.scraper
	b.sendBytes(t, "GET /scrape/edge-1/node HTTP/1.1\n"+auth+"\nHost: x\n\n").want(t, 200, "") // bare LF
	b.sendBytes(t, "GET /scrape/edge-1/node HTTP/1.1\r\nHost: x\r\n"+auth+"\r\nContent-Length: 0\r\n\r\n").want(t, 200, "")
	b.last()
	query := strings.Repeat("a=b&", 10_000)
	b.sendBytes(t, "GET /scrape/edge-1/node?"+query+" HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n\r\n").want(t, 200, "")
	if s := b.last(); s.Query != query {
		t.Errorf("a query of %d bytes became one of %d", len(query), len(s.Query))
	}
	b.sendBytes(t, "GET http://edge-1:9100/metrics HTTP/1.1\r\nHost: other:1\r\nFarscrape-Token: "+b.scraper+"\r\n\r\n").want(t, 200, "")
	if s := b.last(); s.Host != "edge-1:9100" {
		t.Errorf("asked %s: the request line goes before Host", s.Host)
	}
}

// Many scrapes share a connection, with failures among them.
func TestKeepAlive(t *testing.T) {
	b := newBench(t)
	conn := b.dial(t)
	reader := bufio.NewReader(conn)
	for i := range 6 {
		path, want := "/scrape/edge-1/node", 200
		if i%2 == 1 {
			path, want = "/scrape/edge-1", 400
		}
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Prometheus-Scrape-Timeout-Seconds: 1\r\n\r\n", path, b.scraper)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != want || resp.Close {
			t.Errorf("request %d: %d, close %v", i, resp.StatusCode, resp.Close)
		}
	}
}
