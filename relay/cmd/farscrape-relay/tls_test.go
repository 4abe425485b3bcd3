package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/store/storetest"
)

// A tlsWorld is a folder with a relay's web configuration and what that names.
type tlsWorld struct {
	t     *testing.T
	dir   string
	pairs []*certtest.Pair // the relay shows the first
}

func newTLSWorld(t *testing.T) *tlsWorld {
	t.Helper()
	w := &tlsWorld{t: t, dir: t.TempDir()}
	var all strings.Builder
	for _, name := range names {
		pair := certtest.New(t, name, time.Now().Add(time.Hour))
		w.pairs = append(w.pairs, pair)
		all.Write(pair.Certificate)
	}
	w.pairs[0].Write(t, w.dir)
	w.write("ca.pem", all.String())
	w.write("web.yaml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem}")
	return w
}

// names are those of the certificates.
var names = []string{"first", "second", "third"}

// client trusts all of them.
func (w *tlsWorld) client(anew bool) *http.Client {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: certtest.Client(w.t, nil, w.pairs...), DisableKeepAlives: anew}}
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

func (w *tlsWorld) path(name string) string { return filepath.Join(w.dir, name) }

func (w *tlsWorld) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// mintToken mints one as the command does.
func mintToken(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	if err := mint(args, []string{"FARSCRAPE_KEY=" + strings.Repeat("k", 32)}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// startAgent runs an agent with a target of one line until the test ends. In proxy mode
// the target is at address.
func (w *tlsWorld) startAgent(relay string) (address string) {
	w.t.Helper()
	return w.run(agent.Config{RelayURL: relay, Token: mintToken(w.t, "-agent", "edge-1")})
}

func (w *tlsWorld) run(c agent.Config) (address string) {
	w.t.Helper()
	target := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "up 1") }))
	c.TLSCAFile, c.Targets, c.Links = w.path("ca.pem"), "node="+target.URL+"/metrics", 1
	a, err := agent.New(c, agent.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Errorf("agent: %v", err)
		}
		target.Close()
	})
	return "edge-1" + target.URL[strings.LastIndex(target.URL, ":"):]
}

// ask is the answer to a GET with a scraper's token.
func ask(client *http.Client, url, token string) (status int, body string, err error) {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(all), err
}

// secureRelay starts a relay that ends TLS itself, with an agent that came by it.
func (w *tlsWorld) secureRelay(env ...string) (url, scraper, address string, client *http.Client) {
	w.t.Helper()
	url = "https" + strings.TrimPrefix(startRelay(w.t, append(env, "FARSCRAPE_SD_GRACE=0s", "FARSCRAPE_WEB_CONFIG_FILE="+w.path("web.yaml"))...), "http")
	client = w.client(false)
	storetest.WaitUntil(w.t, 20*time.Second, "it listens", func() bool { s, _, _ := ask(client, url+"/-/ready", ""); return s == 200 })
	address = w.startAgent(url)
	scraper = mintToken(w.t, "-scraper", "p")
	storetest.WaitUntil(w.t, 20*time.Second, "the agent is scraped", func() bool { s, _, _ := ask(client, url+"/scrape/edge-1/node", scraper); return s == 200 })
	return url, scraper, address, client
}

func TestAReplicaEndsTLSItself(t *testing.T) {
	w := newTLSWorld(t)
	url, scraper, address, client := w.secureRelay()
	if _, body, err := ask(client, url+"/sd?target=node", scraper); err != nil || !strings.Contains(body, `"__scheme__":"https"`) {
		t.Errorf("discovery: %s %v", body, err)
	}
	ends := metricOf(t, client, url, scraper, `farscrape_relay_certificate_not_after_timestamp_seconds{listener="main"}`)
	if at, err := strconv.ParseFloat(ends, 64); err != nil || time.Until(time.Unix(int64(at), 0)).Round(time.Hour) != time.Hour || metricOf(t, client, url, scraper, `farscrape_relay_web_config_last_reload_successful{listener="main"}`) != "1" {
		t.Errorf("it ends at %s: %v", ends, err)
	}
	listens := strings.TrimPrefix(url, "https://")
	if err := command(t.Context(), []string{"-ready"}, []string{"FARSCRAPE_LISTEN=" + listens, "FARSCRAPE_WEB_CONFIG_FILE=x", "FARSCRAPE_KEY=" + strings.Repeat("k", 32)}, nil, io.Discard, io.Discard); err != nil {
		t.Errorf("-ready: %v", err)
	}
	// A proxy_url with https, of a client that would rather speak HTTP/2.
	byProxy := w.client(true)
	byProxy.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	byProxy.Transport.(*http.Transport).Proxy = func(*http.Request) (*neturl.URL, error) {
		return neturl.Parse("https://prometheus:" + scraper + "@" + listens)
	}
	if resp, err := byProxy.Get("http://" + address + "/metrics"); err != nil {
		t.Errorf("proxy mode: %v", err)
	} else {
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || string(body) != "up 1\n" {
			t.Errorf("proxy mode: %d %s", resp.StatusCode, body)
		}
	}
	resp, err := http.Get("http://" + listens + "/-/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || string(text) != "Client sent an HTTP request to an HTTPS server.\n" {
		t.Errorf("plain HTTP: %d %s", resp.StatusCode, text)
	}
}

// metricOf is a metric of the replica's.
func metricOf(t *testing.T, client *http.Client, url, scraper, name string) string {
	t.Helper()
	_, body, err := ask(client, url+"/metrics", scraper)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (.*)$`).FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("no %s", name)
	}
	return m[1]
}

// Under load the certificate is exchanged again and again, with what is none in
// between: no scrape fails, be it by a connection that stays or by a new one, and the
// agent keeps its link.
func TestACertificateIsExchangedUnderLoad(t *testing.T) {
	w := newTLSWorld(t)
	url, scraper, _, client := w.secureRelay()
	var over atomic.Bool
	var scrapes atomic.Int64
	var load sync.WaitGroup
	for n := range 4 {
		by := w.client(n%2 == 0)
		load.Go(func() {
			for !over.Load() {
				if status, body, err := ask(by, url+"/scrape/edge-1/node", scraper); status != 200 || body != "up 1\n" || err != nil {
					t.Errorf("a scrape: %d %q %v", status, body, err)
					return
				}
				scrapes.Add(1)
			}
		})
	}
	address := strings.TrimPrefix(url, "https://")
	shown := func() string {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	good := func() string {
		return metricOf(t, client, url, scraper, `farscrape_relay_web_config_last_reload_successful{listener="main"}`)
	}
	for n := 1; n <= 9; n++ {
		name := names[n%3]
		w.write("key.pem", "half a k")
		storetest.WaitUntil(t, 20*time.Second, "the broken key is seen", func() bool { return good() == "0" })
		w.pairs[n%3].Write(t, w.dir)
		storetest.WaitUntil(t, 20*time.Second, "the certificate is "+name, func() bool { return shown() == name && good() == "1" })
	}
	over.Store(true)
	load.Wait()
	if links := metricOf(t, client, url, scraper, "farscrape_relay_links"); links != "1" || scrapes.Load() < 100 {
		t.Errorf("%s links, %d scrapes", links, scrapes.Load())
	}
	_, body, err := ask(client, url+"/metrics", scraper)
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if l := lines.Text(); strings.HasPrefix(l, "farscrape_relay_links_closed_total{") && !strings.HasSuffix(l, " 0") {
			t.Errorf("a link was lost: %s", l)
		}
	}
	t.Logf("%d scrapes over 9 exchanges", scrapes.Load())
}

// The ops port has users of its own; elsewhere Authorization is a token's.
func TestUsersAreForTheOpsPortOnly(t *testing.T) {
	w := newTLSWorld(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("s3cret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w.write("users.yaml", "basic_auth_users: {prometheus: "+string(hash)+"}")
	ops := fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	w.secureRelay("FARSCRAPE_OPS_LISTEN="+ops, "FARSCRAPE_OPS_WEB_CONFIG_FILE="+w.path("users.yaml"))
	for url, want := range map[string]int{
		"http://prometheus:s3cret@" + ops + "/metrics": 200, "http://prometheus:other@" + ops + "/metrics": 401,
		"http://" + ops + "/debug/pprof/": 401, "http://" + ops + "/-/ready": 200,
	} {
		if got := status(url); got != want {
			t.Errorf("%s: %d, want %d", url, got, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	key := "FARSCRAPE_KEY=" + strings.Repeat("k", 32)
	for setting, environ := range map[string][]string{
		"FARSCRAPE_WEB_CONFIG_FILE: ":           {"FARSCRAPE_WEB_CONFIG_FILE=" + w.path("users.yaml")},
		"FARSCRAPE_EDGE_WEB_CONFIG_FILE: ":      {"FARSCRAPE_EDGE_LISTEN=127.0.0.1:0", "FARSCRAPE_EDGE_WEB_CONFIG_FILE=" + w.path("users.yaml")},
		"FARSCRAPE_EDGE_WEB_CONFIG_FILE needs ": {"FARSCRAPE_EDGE_WEB_CONFIG_FILE=" + w.path("web.yaml")},
		"FARSCRAPE_OPS_WEB_CONFIG_FILE needs ":  {"FARSCRAPE_OPS_WEB_CONFIG_FILE=" + w.path("web.yaml")},
	} {
		if err := run(t.Context(), append(environ, key, "FARSCRAPE_LISTEN=127.0.0.1:0"), io.Discard); err == nil || !strings.HasPrefix(err.Error(), setting) {
			t.Errorf("%s%v", setting, err)
		}
	}
}

// One port may speak TLS and the next not, each by a file of its own.
func TestEachPortHasAFileOfItsOwn(t *testing.T) {
	w := newTLSWorld(t)
	edge, ops := fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", storetest.FreePort(t))
	relay := startRelay(t, "FARSCRAPE_SD_GRACE=0s", "FARSCRAPE_OPS_LISTEN="+ops, "FARSCRAPE_EDGE_LISTEN="+edge, "FARSCRAPE_EDGE_WEB_CONFIG_FILE="+w.path("web.yaml"))
	storetest.WaitUntil(t, 20*time.Second, "it listens", func() bool { return status(relay+"/-/ready") == 200 })
	client := w.client(false)
	if got, body, err := ask(client, "https://"+edge+"/sd", mintToken(t, "-scraper", "p")); got != 200 || body != "[]\n" {
		t.Errorf("edge: %d %s %v", got, body, err)
	}
	_, metrics, err := ask(http.DefaultClient, "http://"+ops+"/metrics", "")
	const ends = "\nfarscrape_relay_certificate_not_after_timestamp_seconds{listener="
	if strings.Count(metrics, ends) != 1 || !strings.Contains(metrics, ends+`"edge"} `) {
		t.Errorf("metrics: %v\n%s", err, metrics)
	}
	http.DefaultClient.CloseIdleConnections()
}
