package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	good := []string{
		"redis://127.0.0.1",
		"redis://user:p%40ss@127.0.0.1:6379/3",
		"rediss://127.0.0.1:6379",
		"redis://:secret@127.0.0.1:6379?addr=127.0.0.1:6380&addr=127.0.0.1:6381",
		"rediss://127.0.0.1:26379?master_name=mymaster&addr=127.0.0.1:26380&password=secret",
		"unix:///tmp/redis.sock",
	}
	for _, u := range good {
		if _, err := store.NewRedis(store.RedisConfig{URL: u, Replica: wire.NewID[wire.ReplicaID]()}); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	bad := []string{
		"", "127.0.0.1:6379", "http://user:hunter2@host", "redis://user:hunter2#x@host", "redis://:hunter2/y@host",
		"redis://user:hunter2@host/db", "redis://user:hunter2@host:port", "redis://user:hunter2@host?unknown=1", "redis://user:%zzhunter2@host",
		"redis://user:hunter2@host:26379?master_name=m&password=hunter2&bad=x", "redis://:hunter2@host/x?addr=b:1",
		"redis://:hunter2@host?addr=:hunter2@b:1", "redis://host?master_name=m&addr=u:hunter2@b:1",
	}
	for _, u := range bad {
		_, err := store.NewRedis(store.RedisConfig{URL: u, Replica: wire.NewID[wire.ReplicaID]()})
		if err == nil {
			t.Errorf("%q is taken", u)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
	if _, err := store.NewRedis(store.RedisConfig{URL: "redis://127.0.0.1", TLS: &tls.Config{}, Replica: wire.NewID[wire.ReplicaID]()}); err == nil {
		t.Error("TLS settings with a URL without TLS are taken")
	}
	if _, err := store.NewRedis(store.RedisConfig{URL: "redis://127.0.0.1"}); err == nil {
		t.Error("no replica ID is taken")
	}
	if _, err := store.NewRedis(store.RedisConfig{URL: "redis://127.0.0.1", Replica: wire.NewID[wire.ReplicaID](), Prefix: strings.Repeat("p", 1<<10+1)}); err == nil {
		t.Error("a prefix of any length is taken")
	}
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		Subject: pkix.Name{CommonName: "a CA of Redis's"}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", private), pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := selfSigned(t)
	port := storetest.FreePort(t)
	storetest.StartRedis(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no")
	config := store.RedisConfig{
		URL:     "rediss://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		TLS:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		Replica: wire.NewID[wire.ReplicaID](), Keep: time.Hour,
	}
	r := replicas(t, 1, config)[0]
	l := r.register(t, "t", "a")
	storetest.WaitUntil(t, within, "the agent is linked", r.linked(t, l))

	config.TLS, config.Replica = nil, "" // the system does not know this CA
	run(t, open(t, config)).Await(t, within, storetest.BusIs(false))
}

// A proxy stands between a store and Redis. It can let the connections that
// there are fall silent, as a firewall does that has forgotten them: no reset,
// no end, and whatever is written is taken.
type proxy struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu     sync.Mutex
	silent chan struct{} // closed: connections made before are silent
	conns  []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, silent: make(chan struct{})}
	p.all.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, near, far)
		silent := p.silent
		p.mu.Unlock()
		p.all.Go(func() { carry(far, near, silent) })
		p.all.Go(func() { carry(near, far, silent) })
	}
}

// carry copies until it is silenced; then it reads on and writes nothing.
func carry(to, from net.Conn, silent <-chan struct{}) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		select {
		case <-silent:
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// silence lets all connections fall silent that there are now.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.silent)
	p.silent = make(chan struct{})
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
}

func TestSilentConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	p := newProxy(t, server.Addr())
	r := replicas(t, 1, store.RedisConfig{URL: p.url(), Keep: time.Hour})[0]
	other := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	l := r.register(t, "t", "a")

	p.silence()
	began := time.Now()
	r.Await(t, 5*time.Second, storetest.BusIs(false))
	r.Clear()
	r.Await(t, 5*time.Second, storetest.BusIs(true))
	t.Logf("healed after %v", time.Since(began))
	if err := other.Send(r.id, frame(3)); err != nil {
		t.Fatal(err)
	}
	storetest.WaitUntil(t, within, "frames arrive", func() bool { return r.Received(other.id) > 0 })
	storetest.WaitUntil(t, within, "look-ups work", r.linked(t, l))
	if !other.linked(t, l)() {
		t.Error("the lease has expired meanwhile")
	}
}
