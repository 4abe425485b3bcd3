package agent

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestWhatReachesTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan *http.Request, 1)
		l := linked(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r }),
			func(c *Config) { c.Targets = "app=http://app.internal:8080/metrics?a=%31" })
		l.reply(l.request("app", func(q *wire.Request) {
			q.Query = "match[]=up&&x=%7B"
			q.Header = []wire.Field{
				{Name: "accept", Value: "text/plain"}, {Name: "Accept", Value: "application/openmetrics-text"},
				{Name: "X-Prometheus-Scrape-Timeout-Seconds", Value: "10"}, {Name: "Authorization", Value: "Bearer for-the-target"},
				{Name: "Connection", Value: "X-Hop, close"}, {Name: "X-Hop", Value: "1"}, {Name: "Proxy-Authorization", Value: "Basic x"},
				{Name: "Farscrape-Token", Value: "x"}, {Name: "Te", Value: "trailers"}, {Name: "Host", Value: "evil"}, {Name: "Content-Length", Value: "9"},
			}
		}))
		r := <-asked
		if r.Method != "GET" || r.RequestURI != "/metrics?a=%31&match[]=up&&x=%7B" || r.Host != "app.internal:8080" || r.Proto != "HTTP/1.1" {
			t.Errorf("asked %s %s %s of %s", r.Method, r.RequestURI, r.Proto, r.Host)
		}
		want := http.Header{
			"Accept":                              {"text/plain", "application/openmetrics-text"},
			"X-Prometheus-Scrape-Timeout-Seconds": {"10"},
			"Authorization":                       {"Bearer for-the-target"},
		}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("the header is %v, want %v", r.Header, want)
		}
	})
}

func TestATargetsOwnCredentialsWin(t *testing.T) {
	file := t.TempDir() + "/targets.yml"
	writeFile(t, file, `targets:
- name: app
  url: http://app.internal:8080/metrics
  basic_auth: {username: prom, password: own}
  http_headers: {X-Scope: {values: [mine]}}
`)
	asked := make(chan *http.Request, 1)
	l := linked(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r }), func(c *Config) {
		c.Targets = ""
		c.TargetsFile = file
	})
	l.reply(l.request("app", func(q *wire.Request) {
		q.Header = []wire.Field{{Name: "Authorization", Value: "Bearer theirs"}, {Name: "X-Scope", Value: "theirs"}}
	}))
	r := <-asked
	if user, password, _ := r.BasicAuth(); user != "prom" || password != "own" || fmt.Sprint(r.Header["X-Scope"]) != "[mine]" {
		t.Errorf("asked with %v", r.Header)
	}
}

func TestWhichHeaderFieldsPass(t *testing.T) {
	r := scrapeOnce(t, rawTarget(t, "HTTP/1.1 200 OK\r\n"+
		"Content-Type: text/plain; version=0.0.4\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-Own: caf\xe9\r\n"+
		"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n"+
		"Farscrape-Error: ok\r\nfarscrape-token: x\r\nContent-Length: 2\r\n\r\nup"))
	var got []string
	for _, f := range r.head.Header {
		got = append(got, f.Name+"="+f.Value)
	}
	want := "[Content-Length=2 Content-Type=text/plain; version=0.0.4 Set-Cookie=a=b Set-Cookie=c=d X-Own=caf\xe9]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %q", got)
	}
}

// net/http takes Connection away with a close in it, and with it the names of what
// is the connection's own. So of such an answer only what is known passes.
func TestWhichHeaderFieldsOfAClosingTargetPass(t *testing.T) {
	say := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Secret: 1\r\nCONNECTION: X-Secret, Close\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nup"
	relay := newFakeRelay(t)
	start(t, relay.network, nil, func(c *Config) { c.Targets = "app=" + rawTarget(t, say) })
	l := relay.link()
	l.welcome(1)
	r := l.reply(l.request("app", func(q *wire.Request) { q.Remaining = 10 * time.Second }))
	var got []string
	for _, f := range r.head.Header {
		got = append(got, f.Name)
	}
	if want := "[Content-Length Content-Type Retry-After]"; fmt.Sprint(got) != want {
		t.Errorf("%q, want %s", got, want)
	}
}
