package webconfig_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/certtest"
)

// withTLSOnly writes a configuration with that much more in it.
func (w *world) withTLSOnly(more string) *certtest.Pair {
	w.t.Helper()
	pair := certtest.New(w.t, "relay", time.Now().Add(time.Hour))
	pair.Write(w.t, w.dir)
	w.write("web.yaml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem"+more+"}\n")
	return pair
}

func TestNoListenerSpeaksHTTP2(t *testing.T) {
	w := newWorld(t)
	conf := certtest.Client(t, nil, w.withTLSOnly(""))
	w.write("web.yaml", withTLS+"http_server_config: {http2: true}\n")
	_, addr := w.serve()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	resp, err := client.Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 1 || resp.TLS.NegotiatedProtocol != "http/1.1" {
		t.Errorf("spoke %s, agreed on %q", resp.Proto, resp.TLS.NegotiatedProtocol)
	}
}

func TestPlainHTTPIsToldSo(t *testing.T) {
	w := newWorld(t)
	w.withTLSOnly("")
	web, addr := w.serve()
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://edge-1/metrics HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, request)
		got, _ := io.ReadAll(c)
		_ = c.Close()
		if string(got) != "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n" {
			t.Errorf("%q: %q", request, got)
		}
	}
	if failed := value(web, "tls_handshakes_failed_total"); failed != 2 || strings.Count(w.log.String(), "TLS handshake failed") != 1 {
		t.Errorf("%v failed, logged:\n%s", failed, &w.log)
	}
}

func TestTLS12IsTheLeastByDefault(t *testing.T) {
	w := newWorld(t)
	conf := certtest.Client(t, nil, w.withTLSOnly(""))
	_, addr := w.serve()
	for version, good := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conf.MinVersion, conf.MaxVersion = version, version
		c, err := tls.Dial("tcp", addr, conf)
		if (err == nil) != good {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

// Whoever is taken out of the list of those let in does not come back by a session.
func TestClientCertificatesAreAskedForAnewWithEachConnection(t *testing.T) {
	w := newWorld(t)
	alice := certtest.New(t, "alice", time.Now().Add(time.Hour))
	w.write("clients.pem", string(alice.Certificate))
	relay := w.withTLSOnly(", client_ca_file: clients.pem, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [alice]")
	web, addr := w.serve()
	conf := certtest.Client(t, alice, relay)
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
	get := func() error {
		resp, err := client.Get("https://" + addr)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	for range 2 {
		if err := get(); err != nil {
			t.Fatal(err)
		}
	}
	before := value(web, "web_config_last_reload_success_timestamp_seconds")
	w.withTLSOnly(", client_ca_file: clients.pem, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [bob]")
	relay.Write(t, w.dir)
	eventually(t, "alice is out", func() bool { return get() != nil })
	if value(web, "web_config_last_reload_success_timestamp_seconds") <= before {
		t.Error("refused, but not by the new configuration")
	}
	if _, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: certtest.Client(t, nil, relay)}}).Get("https://" + addr); err == nil {
		t.Error("nobody is let in without a certificate, and is")
	}
}

// A pipes is a listener of pipes.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// However many stop in the midst of a handshake, and however: within 10 s they are
// gone, and the log has said so once.
func TestAHandshakeThatStopsIsBrokenOff(t *testing.T) {
	w := newWorld(t)
	w.withTLSOnly("")
	web, err := w.open(true)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: http.NotFoundHandler()}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(web.Listener(l)) })
		defer serving.Wait()
		defer server.Close()
		const each = 100
		var clients []net.Conn
		for n := range 3 * each {
			near, far := net.Pipe()
			l.accept <- far
			clients = append(clients, near)
			switch n % 3 {
			case 1: // half a record
				_, _ = near.Write([]byte{22, 3, 1, 1, 0, 1})
			case 2: // a client that does not read what the server says
				go func() { _ = tls.Client(&deaf{near}, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
			}
		}
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		for n, c := range clients {
			_ = c.SetDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Fatalf("client %d: %v", n, err)
			}
		}
	})
	if failed := value(web, "tls_handshakes_failed_total"); failed != 300 || strings.Count(w.log.String(), "\n") != 1 {
		t.Errorf("%v failed, logged:\n%s", failed, &w.log)
	}
}

// A deaf connection is one whose client never reads.
type deaf struct{ net.Conn }

func (d *deaf) Read([]byte) (int, error) { return 0, fmt.Errorf("reads nothing") }
