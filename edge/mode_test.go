package edge

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// ownMetrics stands for the replica's own: no request for a target may ever be
// answered with it.
const ownMetrics = "process_cpu_seconds_total 1\n"

func withOwnMetrics(c *Config) {
	c.OwnMetrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, ownMetrics) })
}

// TestWhatARequestIs sends what scrapers, front-ends and mischief make of
// requests, and says what each must end as.
func TestWhatARequestIs(t *testing.T) {
	b := newBench(t, withOwnMetrics, publicURL("http://relay.example.com/p"))
	b.known = map[string]wire.Claim{"default edge-1": wire.BoundName, "blue core-1": wire.BoundName,
		"default relay.internal": wire.PatternName, "default app.internal:8080": wire.DeclaredAddress}
	auth, token := "Authorization: Bearer "+b.scraper+"\n", "Farscrape-Token: "+b.scraper+"\n"
	proxy := "Proxy-Authorization: Bearer " + b.scraper + "\n"
	const scraped = "scraped"
	for _, test := range []struct {
		name, request string
		status        int
		reason        string // scraped: the fake was asked
	}{
		// Our own metrics.
		{"own metrics", "GET /metrics HTTP/1.1\nHost: 127.0.0.1\n" + auth, 200, "own"},
		{"own metrics, IPv6", "GET /metrics HTTP/1.1\nHost: [::1]:8080\n" + auth, 200, "own"},
		{"own metrics, localhost", "GET /metrics HTTP/1.1\nHost: LocalHost:8080\n" + auth, 200, "own"},
		{"own metrics, public host", "GET /metrics HTTP/1.1\nHost: Relay.example.com.:443\n" + auth, 200, "own"},
		{"own metrics, public prefix", "GET /p/metrics HTTP/1.1\nHost: relay.example.com\n" + auth, 200, "own"},
		{"own metrics, nobody", "GET /metrics HTTP/1.1\nHost: 127.0.0.1\n", 401, "unauthorized"},
		{"own metrics, an agent", "GET /metrics HTTP/1.1\nHost: 127.0.0.1\nAuthorization: Bearer " + b.agent + "\n", 403, "forbidden"},
		{"own metrics, foreign Host", "GET /metrics HTTP/1.1\nHost: upstream\n" + auth, 404, "agent_unknown"},
		{"own metrics, an agent's Host", "GET /metrics HTTP/1.1\nHost: edge-1:9100\n" + auth, 407, "unauthorized"},
		{"own metrics, no Host", "GET /metrics HTTP/1.0\n" + auth, 404, "agent_unknown"},
		{"own metrics, agents' too", "GET /metrics/agents HTTP/1.1\nHost: upstream\n" + auth, 404, "agent_unknown"},
		// nginx, left alone, sends the upstream's name or address for Host.
		{"behind nginx, token", "GET /metrics HTTP/1.0\nHost: 127.0.0.1:8080\n" + token, 404, "agent_unknown"},
		{"behind nginx, both", "GET /metrics HTTP/1.0\nHost: 127.0.0.1:8080\n" + auth + token, 404, "agent_unknown"},
		{"behind nginx, upstream's name", "GET /metrics HTTP/1.0\nHost: upstream\n" + token, 404, "agent_unknown"},
		{"behind nginx, Proxy-Authorization", "GET /metrics HTTP/1.0\nHost: 127.0.0.1:8080\n" + proxy, 404, "agent_unknown"},
		{"behind nginx, public host", "GET /metrics HTTP/1.0\nHost: relay.example.com\n" + proxy, 404, "agent_unknown"},
		{"behind nginx, $host", "GET /metrics HTTP/1.0\nHost: edge-1\n" + token, 200, scraped},
		{"behind nginx, $http_host", "GET /metrics HTTP/1.0\nHost: edge-1:9100\n" + token, 200, scraped},
		{"behind nginx, path mode", "GET /scrape/edge-1/node HTTP/1.0\nHost: 127.0.0.1:8080\n" + token, 200, scraped},
		// Proxy mode.
		{"absolute form", "GET http://edge-1:9100/metrics HTTP/1.1\nHost: x\n" + proxy, 200, scraped},
		{"absolute form of our own metrics", "GET http://127.0.0.1/metrics HTTP/1.1\nHost: 127.0.0.1\n" + proxy, 200, scraped}, // the fake takes all
		{"absolute form of the public host", "GET http://relay.example.com/sd HTTP/1.1\nHost: relay.example.com\n" + proxy, 404, "agent_unknown"},
		{"absolute form of health", "GET http://edge-1/-/healthy HTTP/1.1\nHost: x\n", 407, "unauthorized"},
		{"absolute form of path mode", "GET http://edge-1/scrape/a/b HTTP/1.1\nHost: x\n" + token, 200, scraped},
		{"an empty Proxy-Authorization", "GET /sd HTTP/1.1\nHost: 127.0.0.1\nProxy-Authorization:\n" + auth, 200, ""},
		{"an empty Proxy-Authorization, absolute form", "GET http://edge-1/ HTTP/1.1\nHost: x\nProxy-Authorization:\n" + auth, 407, "unauthorized"},
		{"Authorization is the target's", "GET http://edge-1/ HTTP/1.1\nHost: x\n" + auth, 407, "unauthorized"},
		{"another tenant's agent", "GET /metrics HTTP/1.1\nHost: core-1:9100\n" + token, 404, "agent_unknown"},
		{"an agent's Host, nobody", "GET /metrics HTTP/1.1\nHost: edge-1:9100\n", 404, "agent_unknown"},
		{"an agent's Host, our page", "GET /sd HTTP/1.1\nHost: edge-1\n" + token, 200, scraped},
		{"https", "GET https://edge-1/ HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"gopher", "GET gopher://edge-1/ HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"file", "GET file:///etc/passwd HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"opaque", "GET http:edge-1 HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"userinfo", "GET http://u:p@edge-1/ HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"port 0", "GET http://edge-1:0/ HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"port 65536", "GET http://edge-1:65536/ HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"a star for host", "GET http://*/ HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"a homoglyph", "GET http://edge-\u0131/ HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"a long host", "GET http://" + strings.Repeat("a.", 130) + "a/ HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		// An agent calls itself what Prometheus calls us, by a pattern's token.
		{"its name, discovery", "GET /sd HTTP/1.1\nHost: relay.internal:8181\n" + token, 200, ""},
		{"its name, discovery by Authorization", "GET /sd HTTP/1.1\nHost: relay.internal:8181\n" + auth, 200, ""},
		{"its name, health", "GET /-/ready HTTP/1.1\nHost: relay.internal:8181\n" + token, 200, ""},
		{"its name, the API", "GET /api/v1/agents HTTP/1.1\nHost: relay.internal:8181\n" + token, 200, ""},
		{"its name, metrics", "GET /metrics HTTP/1.1\nHost: relay.internal:8181\n" + token, 200, scraped},
		// An agent declares what Prometheus calls us as a target's address.
		{"its address, discovery", "GET /sd HTTP/1.1\nHost: app.internal:8080\n" + token, 200, ""},
		{"its address, path mode", "GET /scrape/edge-1/node HTTP/1.1\nHost: app.internal:8080\n" + token, 200, scraped},
		{"its address, clients", "GET /clients HTTP/1.1\nHost: app.internal:8080\n" + auth, 200, ""},
		{"its address, health", "GET /-/ready HTTP/1.1\nHost: app.internal:8080\n" + token, 200, ""},
		{"its address, metrics", "GET /metrics HTTP/1.1\nHost: app.internal:8080\n" + token, 400, "target_ambiguous"},
		{"its address, metrics by Authorization", "GET /metrics HTTP/1.1\nHost: app.internal:8080\n" + auth, 400, "target_ambiguous"},
		{"its address, metrics by Proxy-Authorization", "GET /metrics HTTP/1.1\nHost: app.internal:8080\n" + proxy, 400, "target_ambiguous"},
		{"its address, the root", "GET / HTTP/1.1\nHost: app.internal:8080\n" + token, 400, "target_ambiguous"},
		{"its address, nobody", "GET /metrics HTTP/1.1\nHost: app.internal:8080\n", 404, "agent_unknown"},
		{"its address, absolute form", "GET http://app.internal:8080/metrics HTTP/1.1\nHost: x\n" + token, 200, scraped},
		// Methods.
		{"CONNECT", "CONNECT edge-1:443 HTTP/1.1\nHost: edge-1:443\n" + proxy, 405, "method"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\nHost: x\n" + auth, 405, "method"},
		{"GET *", "GET * HTTP/1.1\nHost: x\n" + proxy, 400, "bad_request"},
		{"POST", "POST /scrape/edge-1/node HTTP/1.1\nHost: x\nContent-Length: 0\n" + auth, 405, "method"},
		{"HEAD", "HEAD /scrape/edge-1/node HTTP/1.1\nHost: x\n" + auth, 405, "method"},
		{"POST to a page", "POST /sd HTTP/1.1\nHost: x\nContent-Length: 0\n" + auth, 405, "method"},
		{"POST in proxy mode", "POST http://edge-1/ HTTP/1.1\nHost: x\nContent-Length: 0\n" + proxy, 405, "method"},
		// Paths, by their bytes.
		{"path mode", "GET /scrape/edge-1/node HTTP/1.1\nHost: x\n" + auth, 200, scraped},
		{"path mode, public prefix", "GET /p/scrape/edge-1/node HTTP/1.1\nHost: x\n" + auth, 200, scraped},
		{"path mode, Host an agent's", "GET /scrape/edge-1/node HTTP/1.1\nHost: edge-1\n" + auth, 407, "unauthorized"},
		{"two slashes first", "GET //scrape/edge-1/node HTTP/1.1\nHost: x\n" + auth, 404, "agent_unknown"},
		{"two slashes, metrics", "GET //metrics HTTP/1.1\nHost: 127.0.0.1\n" + auth, 404, "agent_unknown"},
		{"an escaped page", "GET /%6detrics HTTP/1.1\nHost: 127.0.0.1\n" + auth, 404, "agent_unknown"},
		{"up to a page", "GET /scrape/../metrics HTTP/1.1\nHost: 127.0.0.1\n" + auth, 400, "bad_request"},
		{"up to a page, escaped", "GET /scrape/edge-1/node/%2e%2e/%2e%2e/%2e%2e/metrics HTTP/1.1\nHost: 127.0.0.1\n" + auth, 400, "bad_request"},
		{"escaped slashes", "GET /scrape/edge-1%2fnode HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"escaped slashes, target", "GET /scrape/edge-1/node%2f..%2fother HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"escaped slashes, rest", "GET /scrape/edge-1/node/a%2f..%2fb HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"a backslash, agent", "GET /scrape/edge-1%5Cnode/x HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"a backslash, target", "GET /scrape/edge-1/node%5Cx HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"a backslash, rest", "GET /scrape/edge-1/node/a%5Cb HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"a backslash, small", "GET /scrape/edge-1/node/%5cb HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"no target", "GET /scrape/edge-1 HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"an empty target", "GET /scrape/edge-1/ HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"an empty agent", "GET /scrape//node HTTP/1.1\nHost: x\n" + auth, 400, "bad_request"},
		{"GET /", "GET / HTTP/1.1\nHost: x\n" + auth, 404, "agent_unknown"},
		// Credentials.
		{"Basic", "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nAuthorization: Basic " + basic("me", b.scraper) + "\n", 200, scraped},
		{"basic as a proxy's", "GET http://edge-1/ HTTP/1.1\nHost: x\nProxy-Authorization: basic " + basic("", b.scraper) + "\n", 200, scraped},
		{"nobody", "GET /scrape/edge-1/node HTTP/1.1\nHost: x\n", 401, "unauthorized"},
		{"expired", "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nAuthorization: Bearer " + b.expired + "\n", 401, "unauthorized"},
		{"an agent's token", "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nFarscrape-Token: " + b.agent + "\n", 403, "forbidden"},
		{"the token as user", "GET /sd HTTP/1.1\nHost: x\nAuthorization: Basic " + basic(b.scraper, "") + "\n", 200, ""},
		{"broken Basic", "GET /sd HTTP/1.1\nHost: x\nAuthorization: Basic %%%\n", 401, "unauthorized"},
		{"Proxy-Authorization is no path mode credential", "GET /scrape/edge-1/node HTTP/1.1\nHost: 127.0.0.1\n" + proxy, 401, "unauthorized"},
		{"outside the token's agents", "GET /scrape/core-1/node HTTP/1.1\nHost: x\nAuthorization: Bearer " + b.narrow + "\n", 404, "agent_unknown"},
		// Anyone's.
		{"healthy", "GET /-/healthy HTTP/1.1\nHost: whatever\n", 200, ""},
		{"ready", "HEAD /-/ready HTTP/1.1\nHost: whatever\n", 200, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := b.send(t, test.request+"\n")
			want := test.reason
			if want == scraped || want == "own" {
				want = ""
			}
			o.want(t, test.status, want)
			if asked := b.last() != nil; asked != (test.reason == scraped) {
				t.Errorf("a target was asked: %v", asked)
			}
			if isOwn := o.body == ownMetrics; isOwn != (test.reason == "own") {
				t.Errorf("answered with our own metrics: %v", isOwn)
			}
			switch {
			case o.StatusCode == 401 && len(o.Header["Www-Authenticate"]) != 2,
				o.StatusCode == 407 && len(o.Header["Proxy-Authenticate"]) != 2,
				o.StatusCode == 405 && o.Header.Get("Allow") == "":
				t.Errorf("%v", o.Header)
			}
			if strings.Contains(o.body, b.scraper) {
				t.Error("the answer tells the token")
			}
		})
	}
	if o := b.send(t, "CONNECT edge-1:443 HTTP/1.1\nHost: edge-1:443\n\n"); !strings.Contains(o.body, "http:// target") || !strings.Contains(o.body, "path mode") {
		t.Errorf("CONNECT does not name the mend: %s", o.body)
	}
}

// Where a front-end rewrites proxy mode's absolute form, a declared address is
// a target's; what is ours stays so.
func TestOriginFormOfAddresses(t *testing.T) {
	b := newBench(t, withOwnMetrics, func(c *Config) {
		c.OriginForm, c.OwnHosts = OriginAddresses, wire.NewHosts("Relay.internal:8181", "relay")
	})
	b.known = map[string]wire.Claim{"default app.internal:8080": wire.DeclaredAddress, "default 192.0.2.1:9100": wire.DeclaredAddress,
		"default 127.0.0.1:9100": wire.DeclaredAddress, "default relay:9100": wire.DeclaredAddress, "default relay.internal:8181": wire.DeclaredAddress}
	for host, want := range map[string]struct {
		status  int
		reason  string
		scraped bool
	}{
		"app.internal:8080":    {200, "", true},
		"192.0.2.1:9100":       {200, "", true},
		"192.0.2.1:9999":       {404, "agent_unknown", false},
		"127.0.0.1:9100":       {404, "agent_unknown", false}, // the connection came to it
		"relay:9100":           {404, "agent_unknown", false},
		"relay.internal.:8181": {404, "agent_unknown", false},
		"localhost:9100":       {404, "agent_unknown", false},
	} {
		b.send(t, "GET /metrics HTTP/1.1\nHost: "+host+"\nFarscrape-Token: "+b.scraper+"\n\n").want(t, want.status, want.reason)
		if scraped := b.last() != nil; scraped != want.scraped {
			t.Errorf("%s: a target was asked: %v", host, scraped)
		}
	}
	for _, host := range []string{"127.0.0.1:9100", "relay:9100", "relay.internal:8181"} {
		b.send(t, "GET /sd HTTP/1.1\nHost: "+host+"\nFarscrape-Token: "+b.scraper+"\n\n").want(t, 200, "")
		if b.last() != nil {
			t.Errorf("/sd of %s went to a target", host)
		}
	}
	for _, host := range []string{"relay:9100", "relay.internal:8181", "localhost:80"} {
		b.send(t, "GET http://"+host+"/metrics HTTP/1.1\nHost: x\nFarscrape-Token: "+b.scraper+"\n\n").want(t, 404, "agent_unknown")
	}
}

// Without tokens there are no metrics of ours at all.
func TestNoAuth(t *testing.T) {
	b := newBench(t, withOwnMetrics, func(c *Config) { c.NoAuth, c.Keys = true, nil })
	b.known = map[string]wire.Claim{"default edge-1": wire.BoundName}
	b.send(t, "GET /metrics HTTP/1.1\nHost: 127.0.0.1\nAuthorization: Bearer "+b.scraper+"\n\n").want(t, 404, "agent_unknown")
	b.send(t, "GET /metrics HTTP/1.1\nHost: localhost\n\n").want(t, 404, "agent_unknown")
	b.send(t, "GET /metrics HTTP/1.1\nHost: edge-1:9100\nAuthorization: Bearer the-targets\n\n").want(t, 200, "")
	if s := b.last(); s.Tenant != "default" || s.Allow != "" || fieldOf(s.Header, "Authorization") != "Bearer the-targets" {
		t.Errorf("scraped %+v", s)
	}
	b.send(t, "GET /scrape/edge-1/node HTTP/1.1\nHost: x\n\n").want(t, 200, "")
	b.send(t, "GET /sd HTTP/1.1\nHost: x\n\n").want(t, 200, "")
	b.send(t, "GET http://edge-1/ HTTP/1.1\nHost: x\n\n").want(t, 200, "")
}

func TestConnectIsTheAgents(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.AgentSide = &AgentSide{Connect: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }}
	})
	b.known = map[string]wire.Claim{"default edge-1": wire.BoundName}
	b.send(t, "GET /agent/connect HTTP/1.1\nHost: relay\nAuthorization: Bearer "+b.agent+"\n\n").want(t, 418, "")
	b.send(t, "GET http://edge-1/agent/connect HTTP/1.1\nHost: x\nFarscrape-Token: "+b.scraper+"\n\n").want(t, 200, "")
	b.send(t, "GET /agent/connect HTTP/1.1\nHost: edge-1\nFarscrape-Token: "+b.scraper+"\n\n").want(t, 200, "")
}
