package edge

import (
	"encoding/base64"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

func TestRequestHeader(t *testing.T) {
	b := newBench(t)
	const header = `X-Prometheus-Scrape-Timeout-Seconds: 5
Connection: Authorization, x-private, X-Prometheus-Scrape-Timeout-Seconds, close
X-Private: 1
Keep-Alive: 1
TE: trailers
Trailer: X
Upgrade: websocket
Expect: 100-continue
Proxy-Foo: 1
Farscrape-Anything: 1
X-Forwarded-For: 10.0.0.1
X-Forwarded-Anything: 1
Forwarded: for=10.0.0.1
X-Real-IP: 10.0.0.1
Via: 1.1 front
Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
User-Agent: Prometheus/3.5
Accept: text/plain
Accept-Encoding: gzip
X-Two: 1
Cookie: a=b
X-Two: 2
`
	names := func(s *wire.Scrape) string {
		var all []string
		for _, f := range s.Header {
			all = append(all, f.Name)
		}
		return strings.Join(all, " ")
	}
	b.send(t, "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nAuthorization: Bearer "+b.scraper+"\n"+header+"\n").want(t, 200, "")
	s := b.last()
	if got, want := names(s), "Accept Accept-Encoding Traceparent User-Agent X-Two X-Two X-Prometheus-Scrape-Timeout-Seconds"; got != want {
		t.Errorf("path mode: %s, want %s", got, want)
	}
	seconds, err := strconv.ParseFloat(fieldOf(s.Header, timeoutHeader), 64)
	if err != nil || seconds > 4.75 || seconds < 2 {
		t.Errorf("the target is told %v s, %v", seconds, err)
	}
	b.send(t, "GET http://edge-1/ HTTP/1.1\nHost: x\nFarscrape-Token: "+b.scraper+"\n"+strings.Replace(header, "Authorization, ", "", 1)+"Authorization: Basic "+basic("a", "b")+"\n\n").want(t, 200, "")
	if got, want := names(b.last()), "Accept Accept-Encoding Authorization Cookie Traceparent User-Agent X-Two X-Two X-Prometheus-Scrape-Timeout-Seconds"; got != want {
		t.Errorf("proxy mode: %s, want %s", got, want)
	}
}

// Whatever field a token of ours came in, and in whatever guise, it goes no
// further: valid or expired, a scraper's or an agent's.
func TestTokensStopHere(t *testing.T) {
	b := newBench(t)
	pair := "x:" + b.scraper
	for name, stray := range map[string]string{
		"Bearer":                    "Authorization: Bearer " + b.scraper,
		"an agent's":                "Authorization: Bearer " + b.agent,
		"one that has expired":      "Authorization: bearer " + b.expired,
		"Bearer, tab":               "Authorization: Bearer\t" + b.scraper,
		"another scheme":            "Authorization: Token " + b.scraper,
		"a parameter":               `Authorization: Token token="` + b.scraper + `", x=y`,
		"no scheme":                 "Authorization: " + b.scraper,
		"glued":                     "Authorization: Bearer x" + b.scraper + "x",
		"Basic, password":           "Authorization: Basic " + basic("x", b.scraper),
		"Basic, user":               "Authorization: Basic " + basic(b.scraper, "x"),
		"Basic, no colon":           "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(b.scraper)),
		"Basic, unpadded":           "Authorization: Basic " + base64.RawStdEncoding.EncodeToString([]byte(pair+"??>")),
		"Basic, URL's alphabet":     "Authorization: Basic " + base64.URLEncoding.EncodeToString([]byte(pair+"??>")),
		"Basic, tab":                "Authorization: Basic\t" + basic("x", b.agent),
		"Cookie":                    "Cookie: a=b; token=" + b.scraper + "; c=d",
		"Cookie, base64":            "Cookie: a=b; token=" + basic("x", b.scraper) + "; c=d",
		"a field that is like ours": "Farscrape_Token: " + b.scraper,
		"a field of somebody's":     "X-Api-Key: " + b.scraper,
		"a URL in Referer":          "Referer: https://relay/scrape/edge-1/node?token=" + b.scraper + "&x=y",
		"after another's":           "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.x " + b.scraper,
		"among tokens of nobody":    "X-Key: eyJ.eyJ." + strings.Repeat("eyJ", 20) + "." + b.scraper,
	} {
		for mode, request := range map[string]string{
			"proxy": "GET http://edge-1/ HTTP/1.1\nHost: x\nProxy-Authorization: Bearer " + b.scraper + "\n",
			"path":  "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nFarscrape-Token: " + b.scraper + "\n",
		} {
			b.send(t, request+stray+"\n\n").want(t, 200, "")
			if s := b.last(); len(s.Header) != 1 {
				t.Errorf("%s, %s mode: the target gets %s", name, mode, s.Header[0].Name)
			}
		}
	}
}

// What only looks like one passes: it is the target's.
func TestOthersTokensPass(t *testing.T) {
	b := newBench(t)
	another, err := token.ParseKeys([]byte(strings.Repeat("another key ", 4)))
	if err != nil {
		t.Fatal(err)
	}
	theirs := mint(t, another, token.Claims{Role: token.Scraper, Name: "p"}, time.Now())
	for _, value := range []string{"Bearer " + theirs, "Basic " + basic("x", theirs), "Bearer " + b.scraper[:len(b.scraper)-1], strings.Repeat("eyJ.", 4000)} {
		b.send(t, "GET http://edge-1/ HTTP/1.1\nHost: x\nProxy-Authorization: Bearer "+b.scraper+"\nAuthorization: "+value+"\n\n").want(t, 200, "")
		if got := fieldOf(b.last().Header, "Authorization"); got != value {
			t.Errorf("%d bytes became %d", len(value), len(got))
		}
	}
}

// The target gets the query as it came, so that a token in it can only be refused.
func TestATokenInTheURLIsRefused(t *testing.T) {
	b := newBench(t)
	for _, request := range []string{
		"GET http://edge-1/?token=" + b.scraper,
		"GET http://edge-1/" + b.scraper + "/metrics",
		"GET /scrape/edge-1/node?a=b&token=" + b.agent + "&c=d",
		"GET /scrape/edge-1/node/" + b.expired,
	} {
		o := b.send(t, request+" HTTP/1.1\nHost: x\nFarscrape-Token: "+b.scraper+"\n\n")
		o.want(t, 400, "bad_request")
		if b.last() != nil || strings.Contains(o.body, "eyJ") {
			t.Errorf("a target was asked, or the answer tells it: %s", o.body)
		}
	}
}

// Some clients take the password out of a proxy's URL before they use it
// (OpenTelemetry's receiver: prometheus:xxxxx), so the user name will do.
func TestATokenAsBasicUserName(t *testing.T) {
	b := newBench(t)
	for name, credential := range map[string]string{
		"as user, redacted password": basic(b.scraper, "xxxxx"),
		"as user, no password":       basic(b.scraper, ""),
		"as user, no colon":          base64.StdEncoding.EncodeToString([]byte(b.scraper)),
		"as password":                basic("prometheus", b.scraper),
		"as both":                    basic(b.scraper, b.scraper),
	} {
		t.Log(name)
		b.send(t, "GET http://edge-1/ HTTP/1.1\nHost: x\nProxy-Authorization: Basic "+credential+"\n\n").want(t, 200, "")
		b.send(t, "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nAuthorization: Basic "+credential+"\n\n").want(t, 200, "")
		b.send(t, "GET /sd HTTP/1.1\nHost: x\nAuthorization: Basic "+credential+"\n\n").want(t, 200, "")
	}
	b.send(t, "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nAuthorization: Basic "+basic(b.agent, "xxxxx")+"\n\n").want(t, 403, "forbidden")
	b.send(t, "GET /scrape/edge-1/node HTTP/1.1\nHost: x\nAuthorization: Basic "+basic("prometheus", "xxxxx")+"\n\n").want(t, 401, "unauthorized")
}

func TestTooManyFields(t *testing.T) {
	b := newBench(t)
	auth := "Authorization: Bearer " + b.scraper + "\n"
	for name, header := range map[string]string{
		"300 fields":   strings.Repeat("a: b\n", 300),
		"a long field": "A: " + strings.Repeat("x", wire.MaxHeaderBytes) + "\n",
	} {
		t.Log(name)
		b.send(t, "GET /scrape/edge-1/node HTTP/1.1\nHost: x\n"+auth+header+"\n").want(t, 400, "bad_request")
	}
	if b.last() != nil {
		t.Error("a target was asked")
	}
}

func TestTimeout(t *testing.T) {
	e := New(Config{Scraper: &fake{}, NoAuth: true, DefaultTimeout: 10 * time.Second, MaxTimeout: time.Minute})
	for header, want := range map[string]time.Duration{
		"15":                           15 * time.Second,
		"0.25":                         250 * time.Millisecond,
		"1.":                           time.Second,
		".5":                           500 * time.Millisecond,
		"60.1":                         time.Minute,
		"0.000001":                     time.Microsecond,
		"1" + strings.Repeat("0", 400): time.Minute,
		"":                             10 * time.Second,
		"0":                            10 * time.Second,
		"0.0000000001":                 10 * time.Second, // rounds to nothing
		".":                            10 * time.Second,
		"1.2.3":                        10 * time.Second,
		"-1":                           10 * time.Second,
		"+1":                           10 * time.Second,
		"1e300":                        10 * time.Second,
		"1e1":                          10 * time.Second,
		"0x10":                         10 * time.Second,
		"1_0":                          10 * time.Second,
		"NaN":                          10 * time.Second,
		"Inf":                          10 * time.Second,
		"15s":                          10 * time.Second,
		"1,2":                          10 * time.Second,
	} {
		if got := e.timeout(http.Header{timeoutHeader: {header}}); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
	if got := e.timeout(nil); got != 10*time.Second {
		t.Errorf("none: %v", got)
	}
	if got := e.timeout(http.Header{timeoutHeader: {"1", "2"}}); got != 10*time.Second {
		t.Errorf("two: %v", got)
	}
}

func TestMargin(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		time.Minute:            59500 * time.Millisecond,
		10 * time.Second:       9500 * time.Millisecond,
		2 * time.Second:        1900 * time.Millisecond,
		100 * time.Millisecond: 90 * time.Millisecond,
		10 * time.Millisecond:  5 * time.Millisecond,
		time.Microsecond:       500 * time.Nanosecond,
	} {
		if got := lessMargin(timeout); got != want {
			t.Errorf("%v: %v, want %v", timeout, got, want)
		}
	}
}

func FuzzParseSeconds(f *testing.F) {
	for _, s := range []string{"10", "0.5", "NaN", "-1", "1e300", strings.Repeat("9", 400), "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := parseSeconds(s)
		if d < 0 {
			t.Fatalf("%q: %v", s, d)
		}
		if less := lessMargin(d); less < 0 || less > d {
			t.Fatalf("%v: %v is left", d, less)
		}
		if sent, err := strconv.ParseFloat(s, 64); d > 0 && d < math.MaxInt64 && (err != nil || math.Abs(sent-d.Seconds()) > 1e-6*sent+1e-9) {
			t.Fatalf("%q: %v", s, d)
		}
	})
}

func FuzzCutScheme(f *testing.F) {
	for _, s := range []string{"", "_scheme=https", "a=1&_scheme=https&b=2", "&&_scheme&", "x_scheme=1&_scheme2=2&%5fscheme=3", "a=_scheme=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		var want []string
		for _, pair := range strings.Split(query, "&") {
			if pair != "_scheme" && !strings.HasPrefix(pair, "_scheme=") {
				want = append(want, pair)
			}
		}
		if got := cutScheme(query); got != strings.Join(want, "&") {
			t.Fatalf("%q: %q", query, got)
		}
	})
}

// FuzzAimByPath holds that whatever path is taken names an agent and a target
// by the rules, and is the path that its parts make.
func FuzzAimByPath(f *testing.F) {
	for _, s := range []string{"/scrape/edge-1/node", "/scrape/a/b/", "/scrape/a/b/c/d", "/scrape/%61/%62/%63", "/scrape/a/b/../c",
		"/scrape/a%2fb/c", "/scrape/a/b//c", "/scrape/a/b/%00", "/scrape/a/b/%c0%ae%c0%ae/", "/scrape/a/b/..;/", `/scrape/a/b/..\`, "/scrape/\u212a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		var s wire.Scrape
		if aimByPath(&s, path) != nil {
			return
		}
		if wire.CheckAgentName(s.Agent) != nil || wire.CheckName("target", s.Target) != nil {
			t.Fatalf("%q: %+v", path, s)
		}
		if strings.HasPrefix(s.Rest, "/") || !strings.HasSuffix(path, s.Rest) {
			t.Fatalf("%q: rest %q", path, s.Rest)
		}
		for _, seg := range strings.Split(strings.ReplaceAll(strings.ToLower(s.Rest), "%2e", "."), "/") {
			if seg == "." || seg == ".." || strings.Contains(seg, "%00") {
				t.Fatalf("%q: rest %q", path, s.Rest)
			}
		}
	})
}

// Who takes a wrong path, or has only the relay's address, is told of the right ones.
func TestAPathThatIsNoneSaysWhichThereAre(t *testing.T) {
	b := newBench(t)
	const paths = ": no such path: try /sd, /scrape/AGENT/TARGET or /-/ready (if this was for a target in proxy mode, "
	for request, want := range map[string]string{
		"GET / HTTP/1.1\nHost: " + b.addr:                    `agent_unknown: "/"` + paths + "a front-end has replaced its Host: use path mode)\n",
		"GET /scarpe/edge-1/node HTTP/1.1\nHost: " + b.addr:  `agent_unknown: "/scarpe/edge-1/node"` + paths + "a front-end has replaced its Host: use path mode)\n",
		"GET /sd/ HTTP/1.1\nHost: relay.example.com":         `agent_unknown: "/sd/"` + paths + "no agent has \"relay.example.com:80\"; if that is this relay, set FARSCRAPE_PUBLIC_URL or FARSCRAPE_OWN_HOSTS)\n",
		"GET /scrape/edge-1 HTTP/1.1\nHost: " + b.addr:       "bad_request: the path must be /scrape/{agent}/{target}\n",
		"GET /sd HTTP/1.1\nHost: " + b.addr + "\nX-None: so": "",
	} {
		o := b.send(t, request+"\nAuthorization: Bearer "+b.scraper+"\n\n")
		if want == "" {
			o.want(t, 200, "")
		} else if o.body != want || o.StatusCode/100 != 4 {
			t.Errorf("%s: %d %s", strings.SplitN(request, "\n", 2)[0], o.StatusCode, o.body)
		}
	}
}
