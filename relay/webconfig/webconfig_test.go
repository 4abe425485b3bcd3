package webconfig_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/relay/webconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const setting = "FARSCRAPE_OPS_WEB_CONFIG_FILE"

// A world is a folder with a web configuration, and what was logged of it.
type world struct {
	t    *testing.T
	dir  string
	file string
	log  record
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.file = filepath.Join(w.dir, "web.yaml")
	return w
}

// write replaces a file of the folder.
func (w *world) write(name, content string) {
	w.t.Helper()
	file := filepath.Join(w.dir, name)
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		w.t.Fatal(err)
	}
}

const (
	withTLSAnd = "tls_server_config: {cert_file: cert.pem, key_file: key.pem, " // and more }
	withTLS    = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
)

func (w *world) open(operators bool) (*webconfig.Web, error) {
	return webconfig.New(webconfig.Config{Setting: setting, File: w.file, Operators: operators, Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
		Subsystem: "relay", Labels: prometheus.Labels{"listener": "ops"}, CertificateLabels: prometheus.Labels{"listener": "ops"}})
}

// serve serves what the folder has until the test ends.
func (w *world) serve() (*webconfig.Web, string) {
	w.t.Helper()
	web, err := w.open(true)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: web.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%t", r.TLS != nil)
	}))}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = server.Serve(web.Listener(l)) })
	all.Go(func() { web.Run(ctx) })
	w.t.Cleanup(func() {
		stop()
		_ = server.Close()
		all.Wait()
	})
	return web, l.Addr().String()
}

// A record is a log that a test reads while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// value is that of a metric of the listener.
func value(web *webconfig.Web, name string) float64 {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(web)
	families, _ := registry.Gather()
	for _, f := range families {
		if m := f.Metric[0]; f.GetName() == "farscrape_relay_"+name {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return -1
}

// eventually waits until something that files decide is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// shown is the name in the certificate that a new connection is shown.
func shown(t *testing.T, addr string) string {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestANewCertificateIsTakenAndABadOneIsNot(t *testing.T) {
	w := newWorld(t)
	ends := time.Now().Add(time.Hour).Truncate(time.Second)
	first, second := certtest.New(t, "first", ends), certtest.New(t, "second", ends.Add(time.Hour))
	first.Write(t, w.dir)
	w.write("web.yaml", withTLS)
	web, addr := w.serve()
	held, err := tls.Dial("tcp", addr, certtest.Client(t, nil, first))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if got := value(web, "certificate_not_after_timestamp_seconds"); got != float64(ends.Unix()) || shown(t, addr) != "first" {
		t.Errorf("at first: ends at %v, shows %s", got, shown(t, addr))
	}
	for what, spoil := range map[string]func(){
		"the other's key":     func() { w.write("key.pem", string(second.Key)) },
		"no key":              func() { _ = os.Remove(filepath.Join(w.dir, "key.pem")) },
		"half a certificate":  func() { w.write("cert.pem", string(second.Certificate[:200])) },
		"no YAML":             func() { w.write("web.yaml", "tls_server_config: [") },
		"a file that is none": func() { w.write("web.yaml", "tls_server_config: {cert_file: cert2.pem, key_file: key.pem}") },
		"no TLS any more":     func() { w.write("web.yaml", "") },
	} {
		spoil()
		eventually(t, what+" is seen", func() bool { return value(web, "web_config_last_reload_successful") == 0 })
		if got := shown(t, addr); got != "first" {
			t.Errorf("%s: shows %s", what, got)
		}
		first.Write(t, w.dir)
		w.write("web.yaml", withTLS)
		eventually(t, "the good one is taken again", func() bool { return value(web, "web_config_last_reload_successful") == 1 })
	}
	second.Write(t, w.dir)
	eventually(t, "the second is shown", func() bool { return shown(t, addr) == "second" })
	eventually(t, "and told", func() bool {
		return value(web, "certificate_not_after_timestamp_seconds") == float64(ends.Add(time.Hour).Unix())
	})
	_, _ = io.WriteString(held, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(held); err != nil || !strings.HasSuffix(string(got), "true") {
		t.Errorf("a connection from before: %q, %v", got, err)
	}
	if strings.Contains(w.log.String(), "PRIVATE") {
		t.Errorf("logged:\n%s", &w.log)
	}
}

// What is wrong is said once, however often the files are looked at.
func TestABadFileIsLoggedOnce(t *testing.T) {
	w := newWorld(t)
	certtest.New(t, "first", time.Now().Add(time.Hour)).Write(t, w.dir)
	w.write("web.yaml", withTLS)
	web, _ := w.serve()
	for n := range 3 {
		w.write("key.pem", "none "+strings.Repeat("x", n))
		eventually(t, "it is seen", func() bool { return value(web, "web_config_last_reload_successful") == 0 })
	}
	w.write("web.yaml", "no_such_key: 1") // and so it has been read since
	eventually(t, "the next fault is logged", func() bool { return strings.Contains(w.log.String(), "no_such_key") })
	if got := w.log.String(); strings.Count(got, setting+": "+w.file+": tls_server_config: the certificate and its key: ") != 1 {
		t.Errorf("logged:\n%s", got)
	}
}

func TestTheMetricsAreWellFormed(t *testing.T) {
	w := newWorld(t)
	certtest.New(t, "first", time.Now().Add(time.Hour)).Write(t, w.dir)
	w.write("web.yaml", withTLS)
	web, err := w.open(true)
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.CollectAndLint(web); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// Where clients' certificates are credentials the file must have them verified, and stays
// as it was when a change would not.
func TestCertificatesThatAreCredentialsAreVerified(t *testing.T) {
	w := newWorld(t)
	pair := certtest.New(t, "relay", time.Now().Add(time.Hour))
	pair.Write(t, w.dir)
	w.write("client-ca.pem", string(certtest.NewAuthority(t, "clients").Certificate))
	open := func(content string) (*webconfig.Web, error) {
		w.write("web.yaml", content)
		return webconfig.New(webconfig.Config{Setting: "FARSCRAPE_WEB_CONFIG_FILE", File: w.file, Certificates: "FARSCRAPE_AGENT_AUTH=either", Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Subsystem: "relay"})
	}
	const want = "FARSCRAPE_AGENT_AUTH=either needs client_ca_file, and client_auth_type VerifyClientCertIfGiven or RequireAndVerifyClientCert"
	for _, lax := range []string{withTLS, withTLSAnd + "client_ca_file: client-ca.pem, client_auth_type: RequestClientCert}", withTLSAnd + "client_auth_type: RequireAnyClientCert}"} {
		if _, err := open(lax); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "FARSCRAPE_WEB_CONFIG_FILE: ") {
			t.Errorf("%s: %v", lax, err)
		}
	}
	for _, good := range []string{"VerifyClientCertIfGiven", "RequireAndVerifyClientCert"} {
		web, err := open(withTLSAnd + "client_ca_file: client-ca.pem, client_auth_type: " + good + "}")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { web.Run(ctx) })
		w.write("web.yaml", withTLS)
		eventually(t, "what it lost is told", func() bool {
			return strings.Contains(w.log.String(), want) && value(web, "web_config_last_reload_successful") == 0
		})
		stop()
		running.Wait()
	}
}

// Which CAs stand for clients is asked anew once the file is another.
func TestTheCAsThatStandForClients(t *testing.T) {
	w := newWorld(t)
	pair := certtest.New(t, "relay", time.Now().Add(time.Hour))
	pair.Write(t, w.dir)
	one, two := certtest.NewAuthority(t, "clients"), certtest.NewAuthority(t, "clients")
	w.write("client-ca.pem", "the first:\n"+string(one.Certificate)+string(two.Certificate))
	w.write("web.yaml", withTLSAnd+"client_ca_file: client-ca.pem, client_auth_type: RequireAndVerifyClientCert}")
	web, _ := w.serve()
	first := web.ClientCAs()
	if !first.Have(one.Parsed) || !first.Have(two.Parsed) || first.Have(certtest.NewAuthority(t, "clients").Parsed) || web.ClientCAs() != first {
		t.Error("the CAs are others than the file's")
	}
	w.write("client-ca.pem", string(two.Certificate))
	eventually(t, "the file is read", func() bool { return web.ClientCAs() != first })
	if next := web.ClientCAs(); next.Have(one.Parsed) || !next.Have(two.Parsed) {
		t.Error("the CAs are others than the changed file's")
	}
}
