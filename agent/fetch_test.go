package agent

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// rawTarget is a target on a real socket that says exactly that to every
// request, and hangs up.
func rawTarget(t *testing.T, say string) (url string) {
	t.Helper()
	return "http://" + listenAnd(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			io.WriteString(conn, say)
		}
	}) + "/metrics"
}

// scrapeOnce asks a target at a real address, once.
func scrapeOnce(t *testing.T, url string, change ...func(*wire.Request)) *reply {
	t.Helper()
	relay := newFakeRelay(t)
	start(t, relay.network, nil, func(c *Config) { c.Targets = "app=" + url })
	l := relay.link()
	l.welcome(1)
	return l.reply(l.request("app", append([]func(*wire.Request){func(q *wire.Request) { q.Remaining = 10 * time.Second }}, change...)...))
}

func TestAnswersThatAreNone(t *testing.T) {
	for what, say := range map[string]string{
		"no HTTP":                   "hello\r\n\r\n",
		"nothing":                   "",
		"status 0":                  "HTTP/1.1 0 x\r\n\r\n",
		"status 000":                "HTTP/1.1 000 x\r\nContent-Length: 0\r\n\r\n",
		"status 99":                 "HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n",
		"status 101":                "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: y\r\n\r\n",
		"status 600":                "HTTP/1.1 600 x\r\nContent-Length: 0\r\n\r\n",
		"status 999":                "HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n",
		"only 100s":                 strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10),
		"half a header":             "HTTP/1.1 200 OK\r\nContent-Le",
		"two lengths":               "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a bare CR in a value":      "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
		"a NUL in a value":          "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"a space in a name":         "HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 0\r\n\r\n",
		"a body cut short":          "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"no body at all":            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
		"a cut chunk":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
		"no last chunk":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"a bad chunk":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
		"a header over the limit":   "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", wire.MaxHeaderBytes) + "\r\nContent-Length: 0\r\n\r\n",
		"fields over the limit":     "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", wire.MaxHeaderFields) + "Content-Length: 0\r\n\r\n",
		"a header over Go's limits": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 11<<20) + "\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			r := scrapeOnce(t, rawTarget(t, say))
			if r.end == nil || r.reason() != wire.TargetBadAnswer {
				t.Errorf("%v %q, head %v", r.reason(), r.detail(), r.head)
			}
		})
	}
}

func TestAnswersThatAreUnusualButWhole(t *testing.T) {
	for what, c := range map[string]struct{ say, body string }{
		"more than its length":    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup and more", "up"},
		"ended by the connection": {"HTTP/1.0 200 OK\r\n\r\nup", "up"},
		"after a 103":             {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup", "up"},
		"chunked, with a trailer": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nup\r\n0\r\nX: y\r\n\r\n", "up"},
		"a status of its own":     {"HTTP/1.1 599 x\r\nContent-Length: 2\r\n\r\nup", "up"},
		"not modified":            {"HTTP/1.1 304 x\r\n\r\n", ""},
	} {
		t.Run(what, func(t *testing.T) {
			r := scrapeOnce(t, rawTarget(t, c.say))
			if r.reason() != wire.OK || string(r.body) != c.body {
				t.Errorf("%v %q, body %q", r.reason(), r.detail(), r.body)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	for what, c := range map[string]struct {
		path, location string
		want           wire.Reason
	}{
		"a slash":                {"/metrics?a=b", "/metrics/", wire.OK},
		"a slash and the query":  {"/metrics?a=b", "/metrics/?a=b", wire.OK},
		"to itself":              {"/metrics", "/metrics", wire.TargetRedirect},
		"to another path":        {"/metrics", "/login", wire.TargetRedirect},
		"to another host":        {"/metrics", "http://u:s3cret@169.254.169.254/latest?s3cret#s3cret", wire.TargetRedirect},
		"to another host, alike": {"/metrics", "//evil.example.com/metrics/", wire.TargetRedirect},
		"to another scheme":      {"/metrics", "https://$host/metrics/", wire.TargetRedirect},
		"nowhere":                {"/metrics", "", wire.TargetRedirect},
		"to what is no URL":      {"/metrics", "http://%zz/s3cret", wire.TargetRedirect},
		"again and again":        {"/loop", "/loop/", wire.TargetRedirect},
	} {
		t.Run(what, func(t *testing.T) {
			target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/metrics/" {
					io.WriteString(w, r.RequestURI)
					return
				}
				w.Header()["Location"] = []string{strings.ReplaceAll(c.location, "$host", r.Host)}
				w.WriteHeader(http.StatusFound)
			}))
			defer target.Close()
			r := scrapeOnce(t, target.URL+c.path)
			if r.reason() != c.want || strings.Contains(r.detail(), "s3cret") {
				t.Errorf("%v %q", r.reason(), r.detail())
			}
			if c.want == wire.OK && string(r.body) != "/metrics/?a=b" {
				t.Errorf("asked again for %s", r.body)
			}
		})
	}
}

func TestWhyATargetCannotBeReached(t *testing.T) {
	secure := httptest.NewUnstartedServer(text("up"))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(text("up"))
	defer plain.Close()
	resetting := tlsTarget(t)
	for what, c := range map[string]struct {
		url  string
		want wire.Reason
	}{
		"nobody listens":          {"http://" + listenAnd(t, nil) + "/", wire.TargetRefused},
		"no such name":            {"http://does-not-exist.invalid/", wire.TargetDNS},
		"an unknown certificate":  {secure.URL + "/", wire.TargetTLS},
		"no TLS there":            {strings.Replace(plain.URL, "http:", "https:", 1) + "/", wire.TargetTLS},
		"hung up while they talk": {resetting, wire.TargetTLS},
	} {
		t.Run(what, func(t *testing.T) {
			r := scrapeOnce(t, c.url)
			if r.reason() != c.want || r.detail() == "" {
				t.Errorf("%v %q", r.reason(), r.detail())
			}
		})
	}
}

// tlsTarget is one that hangs up in the middle of the handshake.
func tlsTarget(t *testing.T) (url string) {
	t.Helper()
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }}
	return "https://" + listenAnd(t, func(conn net.Conn) { tls.Server(conn, config).Read(make([]byte, 1)) }) + "/"
}

func TestADialTakesNoMoreThanThreeQuartersOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		given := make(chan time.Duration, 2)
		startAgent(t, Options{dialRelay: relay.dial, dialTarget: func(ctx context.Context, _, _ string) (net.Conn, error) {
			begun := time.Now()
			<-ctx.Done() // a black hole
			given <- time.Since(begun)
			return nil, ctx.Err()
		}})
		l := relay.link()
		l.welcome(1)
		if r := l.reply(l.request("app")); r.reason() != wire.TargetRefused {
			t.Errorf("%v %q", r.reason(), r.detail())
		}
		if took := <-given; took != 750*time.Millisecond {
			t.Errorf("the dial took %v", took)
		}
		id := l.request("app")
		l.expect(wire.TypeAck) // after 100 ms
		l.cancel(id)
		if r := l.reply(id); r.reason() != wire.Canceled {
			t.Errorf("cancelled: %v %q", r.reason(), r.detail())
		}
		if took := <-given; took != wire.AckAfter {
			t.Errorf("cancelled, the dial took %v", took)
		}
	})
}

func TestAnIdleConnectionIsUsedAgain(t *testing.T) {
	remotes := make(chan string, 2)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { remotes <- r.RemoteAddr }))
	defer target.Close()
	relay := newFakeRelay(t)
	start(t, relay.network, nil, func(c *Config) { c.Targets = "app=" + target.URL })
	l := relay.link()
	l.welcome(1)
	l.reply(l.request("app"))
	l.reply(l.request("app"))
	if first, second := <-remotes, <-remotes; first != second {
		t.Errorf("two connections, from %s and %s", first, second)
	}
}
