package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// A syncBuffer is a log that a test may read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// logTo logs everything to out.
func logTo(out io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// relayOn puts a fake relay on a real server, with TLS if change is given.
func relayOn(t *testing.T, change func(*httptest.Server)) (*fakeRelay, *httptest.Server) {
	t.Helper()
	relay := newFakeRelay(t)
	server := httptest.NewUnstartedServer(relay)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if change == nil {
		server.Start()
	} else {
		change(server)
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	return relay, server
}

// run runs an agent on the real network until the test ends.
func run(t *testing.T, c Config, o Options) *Agent {
	t.Helper()
	c.Links = 1
	if c.Name == "" {
		c.Name = "edge-1"
	}
	a, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return a
}

// caFile is a file with the server's own certificate.
func caFile(t *testing.T, server *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return file
}

func TestTheRelayIsDialledOverTLSWithAClientCertificate(t *testing.T) {
	certificate, key := clientCertificate(t)
	shown := make(chan *tls.ConnectionState, 1)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	relay, server := relayOn(t, func(s *httptest.Server) {
		s.EnableHTTP2 = true // an upgrade needs HTTP/1.1 all the same
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	})
	relay.refuse = func(_ http.ResponseWriter, r *http.Request) bool { shown <- r.TLS; return false }
	dir := t.TempDir()
	writeFile(t, dir+"/cert.pem", string(certificate))
	writeFile(t, dir+"/key.pem", string(key))
	run(t, Config{
		RelayURL: server.URL + "/prefix", Token: "x", TLSCAFile: caFile(t, server),
		TLSCertFile: dir + "/cert.pem", TLSKeyFile: dir + "/key.pem",
	}, Options{})
	l := relay.link()
	if state := <-shown; len(state.PeerCertificates) != 1 || state.NegotiatedProtocol == "h2" || l.path != "/prefix/agent/connect" {
		t.Errorf("dialled %s, showed %d certificates, spoke %q", l.path, len(state.PeerCertificates), state.NegotiatedProtocol)
	}
}

func TestAnUnknownCertificateOfTheRelayIsRefused(t *testing.T) {
	_, server := relayOn(t, func(*httptest.Server) {})
	a, err := New(Config{RelayURL: server.URL, Token: "s3cret", Name: "edge-1", Links: 1}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.dial(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}

func TestTokenAndHeadersAreReadAtEachDial(t *testing.T) {
	relay, server := relayOn(t, nil)
	dir := t.TempDir()
	writeFile(t, dir+"/token", "first\n")
	writeFile(t, dir+"/headers", "X-Gate: open\n")
	run(t, Config{RelayURL: server.URL, TokenFile: dir + "/token", HeadersFile: dir + "/headers"}, Options{})
	l := relay.link()
	if l.header.Get("Authorization") != "Bearer first" || l.header.Get("X-Gate") != "open" {
		t.Errorf("dialled with %v", l.header)
	}
	writeFile(t, dir+"/token", "second\n")
	writeFile(t, dir+"/headers", "X-Gate: ajar\n")
	l.close(wire.CauseRevoked)
	l = relay.link()
	if l.header.Get("Authorization") != "Bearer second" || l.header.Get("X-Gate") != "ajar" {
		t.Errorf("dialled with %v", l.header)
	}
}

func TestTheRelayAndOnlyTheRelayIsReachedThroughTheProxy(t *testing.T) {
	relay, server := relayOn(t, func(*httptest.Server) {})
	target := httptest.NewServer(text("up"))
	defer target.Close()
	connects := make(chan string, 4)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connects <- r.Method + " " + r.Host
		tunnel(t, w, strings.TrimPrefix(server.URL, "https://"))
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	run(t, Config{RelayURL: "https://example.com", Token: "x", TLSCAFile: caFile(t, server), Targets: "app=" + target.URL},
		Options{Proxy: http.ProxyURL(u)})
	l := relay.link()
	l.welcome(1)
	if r := l.reply(l.request("app", func(q *wire.Request) { q.Remaining = 10 * time.Second })); r.reason() != wire.OK {
		t.Errorf("the target: %v %s", r.reason(), r.detail())
	}
	if got := <-connects; got != "CONNECT example.com:443" || len(connects) != 0 {
		t.Errorf("the proxy was asked for %s, and %d times more", got, len(connects))
	}
}

// tunnel answers CONNECT with a connection to address.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	far, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer far.Close()
	w.WriteHeader(http.StatusOK)
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer near.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(far, buffered)
		far.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(near, far)
	near.Close()
	<-done
}

func TestARefusalIsLoggedWithItsMend(t *testing.T) {
	for _, c := range []struct {
		what   string
		answer func(http.ResponseWriter)
		want   []string
	}{
		{"a wrong token", refusing("unauthorized", 401), []string{"status 401", "unauthorized", "not now", "FARSCRAPE_TOKEN"}},
		{"a name not allowed", refusing("forbidden", 403), []string{"status 403", "FARSCRAPE_NAME"}},
		{"a wrong prefix", refusing("", 404), []string{"status 404", "FARSCRAPE_RELAY_URL"}},
		{"an old agent", refusing("bad_request", 426), []string{"status 426", "update"}},
		{"a draining replica", refusing("draining", 503), []string{"status 503", "draining", "comes back"}},
		{"a login page", refusing("", 200), []string{"status 200", "load balancer"}},
		{"a proxy", refusing("", 502), []string{"status 502", "in front of the relay"}},
		{"a redirect", func(w http.ResponseWriter) { w.Header().Set("Location", "/login?s3cret"); w.WriteHeader(302) }, []string{"status 302"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			relay, server := relayOn(t, nil)
			relay.refuse = func(w http.ResponseWriter, _ *http.Request) bool { c.answer(w); return true }
			var out syncBuffer
			run(t, Config{RelayURL: server.URL, Token: "s3cret"}, Options{Logger: logTo(&out)})
			<-relay.dials
			<-relay.dials // the first has been logged
			for _, want := range append(c.want, "agent=edge-1", "instance=", "retry_in=") {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in %s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "s3cret") {
				t.Errorf("a secret is in %s", out.String())
			}
		})
	}
}

func TestWhatTheRelayDoesNotTakeIsLoggedWithItsLimit(t *testing.T) {
	const limit = "12345 targets; FARSCRAPE_AGENT_MAX_TARGETS is 10000"
	relay, server := relayOn(t, nil)
	var out syncBuffer
	run(t, Config{RelayURL: server.URL, Token: "x"}, Options{Logger: logTo(&out)})
	l := relay.link()
	l.conn.Close(websocket.StatusCode(wire.CauseRefused.Code()), wire.CauseRefused.CloseReason(limit))
	relay.link() // the first one's end has been logged
	if !strings.Contains(out.String(), "cause=refused") || !strings.Contains(out.String(), limit) {
		t.Errorf("%q is not in %s", limit, out.String())
	}
}

// refusing refuses with a reason, a status, a sentence and a control character.
func refusing(reason string, status int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if reason != "" {
			w.Header().Set(wire.HeaderError, reason)
		}
		w.WriteHeader(status)
		io.WriteString(w, "not now\x1b[31m\n"+strings.Repeat("x", 4096))
	}
}

func TestAWebSocketThatIsNoRelayIsNotTaken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(acceptAnything))
	defer server.Close()
	a, err := New(Config{RelayURL: server.URL, Token: "x", Name: "edge-1", Links: 1}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.dial(t.Context(), nil); err == nil || !strings.Contains(err.Error(), wire.Subprotocol) {
		t.Errorf("got %v", err)
	}
}
