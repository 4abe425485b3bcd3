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

// Each dial takes the files as they are: certificates are renewed, and so are CAs.
func TestTheCertificatesAreReadAtEachDial(t *testing.T) {
	relay, server := relayOn(t, func(s *httptest.Server) { s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert} })
	shown := make(chan []byte, 16)
	relay.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		shown <- r.TLS.PeerCertificates[0].Raw
		return false
	}
	ca, dir := caFile(t, server), t.TempDir()
	renew := func() []byte {
		certificate, key := clientCertificate(t)
		writeFile(t, dir+"/cert.pem", string(certificate))
		writeFile(t, dir+"/key.pem", string(key))
		block, _ := pem.Decode(certificate)
		return block.Bytes
	}
	first := renew()
	a, err := New(Config{RelayURL: server.URL, Token: "x", Name: "edge-1", Links: 1,
		TLSCAFile: ca, TLSCertFile: dir + "/cert.pem", TLSKeyFile: dir + "/key.pem"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	dial := func() error {
		conn, _, err := a.dial(t.Context(), nil)
		if err == nil {
			conn.CloseNow()
		}
		return err
	}
	if err := dial(); err != nil || !bytes.Equal(<-shown, first) {
		t.Errorf("at first: %v", err)
	}
	second := renew()
	if err := dial(); err != nil || !bytes.Equal(<-shown, second) {
		t.Errorf("renewed: %v", err)
	}
	for _, ends := range []string{`{certificate="client"} 1`, `{certificate="relay"} `} {
		if got := metricLines(t, a, "farscrape_agent_certificate_not_after_timestamp_seconds"); !strings.Contains(got, ends) {
			t.Errorf("no %s in\n%s", ends, got)
		}
	}
	other, _ := clientCertificate(t)
	writeFile(t, ca, string(other))
	if err := dial(); err == nil {
		t.Error("the relay's certificate is taken, and the CA is another now")
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
