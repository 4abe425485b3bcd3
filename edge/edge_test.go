package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/webconfig"
	"github.com/farscrape/farscrape/relay/wire"
)

// A fake is a scraper whose every answer the test decides.
type fake struct {
	known   map[string]wire.Claim // by tenant + " " + host:port; a name's, by host alone
	agents  []wire.Agent
	listing *wire.Error
	version atomic.Uint64
	same    bool // the listing stays the same one
	forgot  []wire.AgentKey
	forget  error

	starting, draining, refusing bool

	answer func(ctx context.Context, s *wire.Scrape) (*wire.Answer, error) // nil: a small 200

	mu      sync.Mutex // guards what follows
	seen    []wire.Scrape
	held    []string // the addresses of those refused
	refused []string // "side cause"
}

func (f *fake) Scrape(ctx context.Context, s *wire.Scrape) (*wire.Answer, error) {
	f.mu.Lock()
	f.seen = append(f.seen, *s)
	f.mu.Unlock()
	if f.answer == nil {
		return whole(200, "up 1\n", wire.Field{Name: "Content-Type", Value: "text/plain; version=0.0.4"}), nil
	}
	return f.answer(ctx, s)
}

func (f *fake) ClaimToName(_ context.Context, tenant, host string) wire.Claim {
	if f.known == nil && host == "bug" {
		panic("a bug")
	}
	return f.known[tenant+" "+host]
}

func (f *fake) ClaimToAddress(ctx context.Context, tenant, address string) wire.Claim {
	if claim := f.ClaimToName(ctx, tenant, wire.HostOf(address)); claim != wire.Unclaimed {
		return claim
	}
	return f.known[tenant+" "+address]
}

func (f *fake) Listing(_ context.Context, tenant string) (*wire.Listing, *wire.Error) {
	if f.listing != nil {
		return nil, f.listing
	}
	var agents []wire.Agent
	for _, a := range f.agents {
		if a.Tenant == tenant {
			agents = append(agents, a)
		}
	}
	slices.SortFunc(agents, func(a, b wire.Agent) int { return strings.Compare(a.Agent, b.Agent) })
	l := wire.NewListing(agents)
	if !f.same {
		f.version.Add(1)
	}
	l.Version = f.version.Load()
	return l, nil
}

func (f *fake) Forget(_ context.Context, key wire.AgentKey) error {
	f.forgot = append(f.forgot, key)
	return f.forget
}

func (f *fake) Ready() bool    { return !f.starting && !f.draining }
func (f *fake) Draining() bool { return f.draining }
func (f *fake) Refusing() bool { return f.refusing }

func (f *fake) CountRefused(of token.Role, cause token.Cause) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, string(of)+" "+string(cause))
}

func (f *fake) HoldRefused(_ context.Context, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = append(f.held, address)
}

// last is the scrape that was asked for last, nil if there was none since.
func (f *fake) last() *wire.Scrape {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) == 0 {
		return nil
	}
	s := f.seen[len(f.seen)-1]
	f.seen = nil
	return &s
}

// whole is a complete answer, as the relay gives it for all small ones.
func whole(status int, body string, header ...wire.Field) *wire.Answer {
	return &wire.Answer{
		AgentTook: func() time.Duration { return time.Microsecond },
		Head:      wire.Head{Status: status, Header: header}, Whole: true, Length: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)), Route: "local", Agent: "edge-1", Target: "node",
	}
}

// streamed is an answer that comes in pieces, and then ends with err.
func streamed(length int64, err error, pieces ...string) *wire.Answer {
	r, w := io.Pipe()
	go func() {
		for _, p := range pieces {
			if _, err := io.WriteString(w, p); err != nil {
				return
			}
		}
		w.CloseWithError(err) // nil is io.EOF
	}()
	return &wire.Answer{
		Head: wire.Head{Status: 200, Header: []wire.Field{{Name: "Content-Type", Value: "text/plain"}}}, Length: length,
		Body: r, Route: "bus", Agent: "edge-1", Target: "node",
	}
}

const testKey = "the-key-of-the-tests-of-the-edge-0123456789"

// A bench is an edge on a real server, and tokens for it.
type bench struct {
	*fake
	journal  *fakeJournal
	edge     *Edge
	addr     string
	scraper  string // a token of tenant default
	narrow   string // of tenant blue, for edge-* only
	agent    string // an agent's
	expired  string
	registry *prometheus.Registry
	client   *http.Client
	tls      *tls.Config // of clients; nil: plain HTTP
}

// A makeBench makes a bench whose configuration is changed so.
type makeBench func(t *testing.T, change ...func(*Config)) *bench

// plainAndTLS runs a test with benches that speak plain HTTP, and with some that speak
// TLS.
func plainAndTLS(t *testing.T, f func(*testing.T, makeBench)) {
	t.Run("plain", func(t *testing.T) { f(t, newBench) })
	t.Run("TLS", func(t *testing.T) { f(t, newTLSBench) })
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	return benchOn(t, func(l net.Listener) net.Listener { return l }, change...)
}

func newTLSBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	listener, conf := withTLS(t)
	b := benchOn(t, listener, change...)
	b.tls = conf
	return b
}

// withTLS returns what makes listeners speak TLS as the relay's do, and what their
// clients need.
func withTLS(t *testing.T) (func(net.Listener) net.Listener, *tls.Config) {
	t.Helper()
	pair, dir := certtest.New(t, "relay", time.Now().Add(time.Hour)), t.TempDir()
	pair.Write(t, dir)
	file := filepath.Join(dir, "web.yaml")
	if err := os.WriteFile(file, []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}"), 0o600); err != nil {
		t.Fatal(err)
	}
	web, err := webconfig.New(webconfig.Config{File: file, Logger: slog.New(slog.NewTextHandler(suiteLog{}, nil)), Subsystem: "relay"})
	if err != nil {
		t.Fatal(err)
	}
	return web.Listener, certtest.Client(t, nil, pair)
}

func benchOn(t *testing.T, listener func(net.Listener) net.Listener, change ...func(*Config)) *bench {
	t.Helper()
	ring, err := token.ParseKeys([]byte(keepSecret(testKey)))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{fake: &fake{}, journal: newFakeJournal(), registry: prometheus.NewRegistry()}
	now := time.Now()
	b.scraper = mint(t, ring, token.Claims{Role: token.Scraper, Name: "p"}, now)
	b.narrow = mint(t, ring, token.Claims{Role: token.Scraper, Name: "p", Tenant: "blue", Agents: "edge-*"}, now)
	b.agent = mint(t, ring, token.Claims{Role: token.Agent, Name: "edge-1"}, now)
	b.expired = mint(t, ring, token.Claims{Role: token.Scraper, Name: "p", Expires: now.Add(-time.Hour)}, now.Add(-2*time.Hour))
	c := Config{
		Scraper: b.fake, Journal: b.journal, Keys: token.NewKeys(ring), Registerer: b.registry,
		Logger: slog.New(slog.NewTextHandler(suiteLog{}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&c)
	}
	b.edge = New(c)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config, srv.Listener = Server(b.edge.Handler()), Listener(listener(srv.Listener))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(suiteLog{}, nil), slog.LevelError)
	srv.Start()
	t.Cleanup(srv.Close)
	b.addr = srv.Listener.Addr().String()
	b.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	return b
}

func mint(t *testing.T, ring *token.Keyring, c token.Claims, now time.Time) string {
	t.Helper()
	s, _, err := ring.Mint(c, now)
	if err != nil {
		t.Fatal(err)
	}
	return keepSecret(s)
}

// An outcome is a response, read to its end.
type outcome struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (o outcome) reason() string { return o.Header.Get(wire.HeaderError) }

// send writes a request as it stands, with \n for CRLF, and reads one response.
func (b *bench) send(t *testing.T, request string) outcome {
	t.Helper()
	return b.sendBytes(t, strings.ReplaceAll(request, "\n", "\r\n"))
}

func (b *bench) sendBytes(t *testing.T, request string) outcome {
	t.Helper()
	conn := b.dial(t)
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }()
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return outcome{resp, string(body), err}
}

// get is a GET with a scraper's token in Authorization.
func (b *bench) get(t *testing.T, path string) outcome {
	t.Helper()
	return b.send(t, "GET "+path+" HTTP/1.1\nHost: "+b.addr+"\nAuthorization: Bearer "+b.scraper+"\n\n")
}

func (o outcome) want(t *testing.T, status int, reason string) {
	t.Helper()
	if o.StatusCode != status || o.reason() != reason {
		t.Errorf("%d %q (%s), want %d %q", o.StatusCode, o.reason(), strings.TrimSpace(o.body), status, reason)
	}
	if reason != "" && reason != "target" && !strings.HasPrefix(o.body, reason) && o.Request.Method != http.MethodHead {
		t.Errorf("body %q does not begin with the reason", o.body)
	}
}

func TestPathMode(t *testing.T) {
	b := newBench(t)
	o := b.send(t, "GET /scrape/Edge-1.Example.com/node/a%20b/c?x=%41&&y HTTP/1.1\nHost: relay.example.com\nAuthorization: Bearer "+b.narrow+"\nAccept: text/plain\n\n")
	o.want(t, 200, "")
	if o.body != "up 1\n" || o.ContentLength != 5 {
		t.Errorf("body %q of length %d", o.body, o.ContentLength)
	}
	for name, want := range map[string]string{
		"Content-Type":            "text/plain; version=0.0.4",
		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": "sandbox; default-src 'none'",
	} {
		if got := o.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	s := b.last()
	if s == nil || s.Tenant != "blue" || s.Allow != "edge-*" || s.Agent != "edge-1.example.com" || s.Target != "node" ||
		s.Rest != "a%20b/c" || s.Query != "x=%41&&y" || s.Proxy() {
		t.Errorf("scraped %+v", s)
	}
}

func TestProxyMode(t *testing.T) {
	b := newBench(t)
	b.known = map[string]wire.Claim{"default edge-1": wire.BoundName}
	for name, request := range map[string]string{
		"absolute form": "GET http://Edge-1:9100/metrics?a=1&_scheme=https&b=%2F HTTP/1.1\nHost: other\nProxy-Authorization: Bearer " + b.scraper + "\n\n",
		"made origin form, Proxy-Authorization left": "GET /metrics?a=1&_scheme=https&b=%2F HTTP/1.1\nHost: edge-1:9100\nProxy-Authorization: Bearer " + b.scraper + "\n\n",
		"made origin form, Farscrape-Token":          "GET /metrics?a=1&_scheme=https&b=%2F HTTP/1.1\nHost: EDGE-1.:9100\nFarscrape-Token: " + b.scraper + "\n\n",
	} {
		o := b.send(t, request)
		o.want(t, 200, "")
		if o.Header.Get("Content-Security-Policy") != "" {
			t.Errorf("%s: what path mode adds is in proxy mode's answer", name)
		}
		s := b.last()
		if s == nil || s.Host != "edge-1:9100" || s.Path != "/metrics" || s.Query != "a=1&b=%2F" || s.Agent != "" {
			t.Errorf("%s: scraped %+v", name, s)
		}
	}
	b.send(t, "GET http://edge-1?q HTTP/1.1\nHost: edge-1\nFarscrape-Token: "+b.scraper+"\n\n").want(t, 200, "")
	if s := b.last(); s == nil || s.Host != "edge-1:80" || s.Path != "/" || s.Query != "q" {
		t.Errorf("scraped %+v", s)
	}
}

// Prometheus is a Go client, with userinfo in proxy_url.
func TestProxyModeThroughGoClient(t *testing.T) {
	b := newBench(t)
	b.client.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) {
		return url.Parse("http://x:" + b.scraper + "@" + b.addr)
	}
	req, _ := http.NewRequest("GET", "http://edge-1:9100/metrics", nil)
	req.Header.Set("Authorization", "Basic dGFyZ2V0OnNlY3JldA==")
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	s := b.last()
	if s == nil || s.Host != "edge-1:9100" || fieldOf(s.Header, "Authorization") != "Basic dGFyZ2V0OnNlY3JldA==" || fieldOf(s.Header, "Proxy-Authorization") != "" {
		t.Errorf("scraped %+v", s)
	}
}

func TestFailuresSayWhy(t *testing.T) {
	b := newBench(t)
	for _, reason := range wire.Reasons() {
		if reason == wire.OK || reason == wire.TargetStatus {
			continue
		}
		b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
			return nil, wire.Errorf(reason, "a detail\r\nof two lines")
		}
		o := b.get(t, "/scrape/edge-1/node")
		o.want(t, reason.Status(), reason.String())
		if o.body != reason.String()+": a detail  of two lines\n" {
			t.Errorf("body %q", o.body)
		}
		o = b.send(t, "GET http://edge-1/ HTTP/1.1\nHost: edge-1\nFarscrape-Token: "+b.scraper+"\n\n")
		if reason == wire.Unauthorized {
			o.want(t, 407, "unauthorized")
		} else {
			o.want(t, reason.Status(), reason.String())
		}
	}
}

func TestTargetsOwnFailurePasses(t *testing.T) {
	b := newBench(t)
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		return whole(503, "not now", wire.Field{Name: "farscrape-error", Value: "ok"}, wire.Field{Name: "Retry-After", Value: "7"}), nil
	}
	o := b.get(t, "/scrape/edge-1/node")
	o.want(t, 503, "target")
	if o.body != "not now" || o.Header.Get("Retry-After") != "7" || len(o.Header.Values(wire.HeaderError)) != 1 {
		t.Errorf("%v %q", o.Header, o.body)
	}
}

func TestOurOwnBugIsInternal(t *testing.T) {
	b := newBench(t)
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) { panic("a bug") }
	b.get(t, "/scrape/edge-1/node").want(t, 500, "internal")
	b.send(t, "GET /metrics HTTP/1.1\nHost: bug\nFarscrape-Token: "+b.scraper+"\n\n").want(t, 500, "internal")
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) { return nil, errors.New("untyped") }
	b.get(t, "/scrape/edge-1/node").want(t, 500, "internal")
}

func fieldOf(fields []wire.Field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
