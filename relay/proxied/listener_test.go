package proxied

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/farscrape/farscrape/relay/certtest"
)

// A peer is one end of a connection that comes from an address.
type peer struct {
	net.Conn
	addr string
}

func (p peer) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(p.addr))
}

// A world is a server that answers with the address that a request comes from, at a
// listener of pipes which trusts 10.0.0.0/8.
type world struct {
	*Listener
	log     bytes.Buffer
	accept  chan net.Conn
	closed  chan struct{}
	server  *http.Server
	serving sync.WaitGroup
}

func (w *world) Accept() (net.Conn, error) {
	select {
	case c := <-w.accept:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}
func (w *world) Close() error   { close(w.closed); return nil }
func (w *world) Addr() net.Addr { return &net.TCPAddr{} }

func serve(conf *tls.Config) *world {
	w := &world{accept: make(chan net.Conn), closed: make(chan struct{})}
	w.Listener = Listen(w, Config{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Logger: slog.New(slog.NewTextHandler(&w.log, nil))})
	w.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, r.RemoteAddr)
	})}
	var l net.Listener = w.Listener
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	w.serving.Go(func() { _ = w.server.Serve(l) })
	return w
}

func (w *world) stop() {
	_ = w.server.Close()
	w.serving.Wait()
}

// dial is a connection from that address.
func (w *world) dial(from string) net.Conn {
	ours, theirs := net.Pipe()
	w.accept <- peer{theirs, from}
	return ours
}

func (w *world) refusedFor(why cause) float64 {
	return testutil.ToFloat64(w.refused.WithLabelValues(string(why)))
}

const request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

const (
	balancer = "10.0.0.1:5"
	other    = "192.0.2.7:5"
	v1       = "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n"
)

// v2 is a header of version 2 with so many bytes of TLVs.
func v2(command proxyproto.ProtocolVersionAndCommand, from string, tlvs int) string {
	h := &proxyproto.Header{Version: 2, Command: command, TransportProtocol: proxyproto.TCPv4,
		SourceAddr:      net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)),
		DestinationAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	if h.SourceAddr.(*net.TCPAddr).IP.To4() == nil {
		h.TransportProtocol = proxyproto.TCPv6
	}
	if tlvs > 0 {
		if err := h.SetTLVs([]proxyproto.TLV{{Type: 0xe0, Value: make([]byte, tlvs-3)}}); err != nil {
			panic(err)
		}
	}
	header, err := h.Format()
	if err != nil {
		panic(err)
	}
	return string(header)
}

// unix is a header of version 2 of a connection by a Unix socket.
var unix = "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("x", 216)

var headers = map[string]struct {
	peer, header string
	from         string // empty: it is refused
	why          cause  // empty: by the HTTP server
}{
	"version 1":                         {balancer, v1, "198.51.100.7:4711", ""},
	"version 1, IPv6":                   {balancer, "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "[2001:db8::7]:4711", ""},
	"version 1, its longest":            {balancer, "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", balancer, ""},
	"version 1, UNKNOWN":                {balancer, "PROXY UNKNOWN\r\n", balancer, ""},
	"version 2":                         {balancer, v2(proxyproto.PROXY, "198.51.100.7:4711", 0), "198.51.100.7:4711", ""},
	"version 2, IPv6":                   {balancer, v2(proxyproto.PROXY, "[2001:db8::7]:4711", 0), "[2001:db8::7]:4711", ""},
	"version 2, with 4 KB of TLVs":      {balancer, v2(proxyproto.PROXY, "198.51.100.7:4711", 4000), "198.51.100.7:4711", ""},
	"version 2, LOCAL":                  {balancer, v2(proxyproto.LOCAL, "198.51.100.7:4711", 0), balancer, ""},
	"version 2, of a Unix socket":       {balancer, unix, balancer, ""},
	"no header":                         {balancer, "", balancer, ""},
	"a trusted peer, IPv4 as IPv6":      {"[::ffff:10.0.0.1]:5", v1, "198.51.100.7:4711", ""},
	"no header, from a stranger":        {other, "", other, ""},
	"version 1, from a stranger":        {other, v1, "", stranger},
	"version 2, from a stranger":        {other, v2(proxyproto.PROXY, "198.51.100.7:4711", 0), "", stranger},
	"LOCAL, from a stranger":            {other, v2(proxyproto.LOCAL, "198.51.100.7:4711", 0), "", stranger},
	"UNKNOWN, from a stranger":          {other, "PROXY UNKNOWN\r\n", "", stranger},
	"version 2, with 64 KB of TLVs":     {balancer, v2(proxyproto.PROXY, "198.51.100.7:4711", 65000), "", malformed},
	"version 2, LOCAL of 64 KB":         {balancer, v2(proxyproto.LOCAL, "198.51.100.7:4711", 65000), "", malformed},
	"version 2, too short for IPv4":     {balancer, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04abcd", "", malformed},
	"version 2, of no family":           {balancer, "\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x00", "", malformed},
	"version 3":                         {balancer, "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0cabcdefghijkl", "", malformed},
	"version 1, without an end":         {balancer, "PROXY " + strings.Repeat("x", 200), "", malformed},
	"version 1, LF only":                {balancer, strings.ReplaceAll(v1, "\r", ""), "", malformed},
	"version 1, a name for an address":  {balancer, "PROXY TCP4 edge.example.com 203.0.113.1 4711 443\r\n", "", malformed},
	"version 1, a port too high":        {balancer, "PROXY TCP4 198.51.100.7 203.0.113.1 65536 443\r\n", "", malformed},
	"version 1, a family that is not":   {balancer, "PROXY TCP9 198.51.100.7 203.0.113.1 4711 443\r\n", "", malformed},
	"what begins like a header, and no": {balancer, "PROXIED\r\n", "", ""},
	"version 1 twice":                   {balancer, v1 + v1, "", ""},
	"version 2 after version 1":         {balancer, v1 + v2(proxyproto.PROXY, "198.51.100.8:1", 0), "", ""},
	"version 1 from a stranger, later":  {other, "\r\n" + v1, "", ""},
}

// Whoever is trusted is believed, nobody else is, and what is no header is served as it
// would be without; by plain HTTP and, before the handshake, by TLS; whether a header
// comes at once or byte by byte.
func TestWhoseConnectionItIs(t *testing.T) {
	pair := certtest.New(t, "relay", time.Now().Add(time.Hour))
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	client := certtest.Client(t, nil, pair)
	client.ServerName = "localhost"
	for spoken, conf := range map[string]*tls.Config{"plain": nil, "TLS": {Certificates: []tls.Certificate{certificate}}} {
		for what, h := range headers {
			for _, step := range []int{1, max(len(h.header), 2)} {
				t.Run(fmt.Sprintf("%s/%s/by %d", spoken, what, step), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := serve(conf)
						defer w.stop()
						c := w.dial(h.peer)
						defer c.Close()
						if conf != nil {
							c = tls.Client(&after{Conn: c, first: h.header, step: step}, client)
						} else {
							c = &after{Conn: c, first: h.header, step: step}
						}
						status, from := ask(c)
						if h.from != "" && (status != 200 || from != h.from) || h.from == "" && status == 200 {
							t.Errorf("%d %q, want %q", status, from, h.from)
						}
						for _, why := range []cause{stranger, malformed, unfinished} {
							want := 0.0
							if why == h.why {
								want = 1
							}
							if n := w.refusedFor(why); n != want {
								t.Errorf("%v were refused as %s, want %v", n, why, want)
							}
						}
					})
				})
			}
		}
	}
}

// An after is a connection that says something else first, so many bytes at a time.
type after struct {
	net.Conn
	first string
	step  int
}

func (a *after) Write(p []byte) (int, error) {
	for len(a.first) > 0 {
		n := min(a.step, len(a.first))
		if _, err := io.WriteString(a.Conn, a.first[:n]); err != nil {
			return 0, err
		}
		a.first = a.first[n:]
	}
	return a.Conn.Write(p)
}

// ask is the answer to a request; the status is 0 if there is none.
func ask(c net.Conn) (status int, body string) {
	written := make(chan struct{})
	go func() { defer close(written); _, _ = io.WriteString(c, request) }()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	defer func() { _ = c.Close(); <-written }()
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	all, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(all)
}

// A header that does not come to its end keeps nobody else waiting, and is broken off
// like a request that does not; so is a trusted peer that says nothing. What a stranger
// begins is a request, until it is a header.
func TestHalfAHeaderIsBrokenOff(t *testing.T) {
	for what, h := range map[string]struct {
		peer, sent string
		counted    float64
	}{
		"nothing":                         {balancer, "", 0},
		"a byte":                          {balancer, "P", 1},
		"half of version 1":               {balancer, v1[:20], 1},
		"half of version 2":               {balancer, v2(proxyproto.PROXY, other, 4000)[:2000], 1},
		"the signature of version 2":      {balancer, "\r\n\r\n\x00\r\nQUIT\n", 1},
		"half a request":                  {balancer, "GET / HT", 0},
		"nothing, of a stranger":          {other, "", 0},
		"half of version 1, a stranger's": {other, v1[:4], 0},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := serve(nil)
				defer w.stop()
				start := time.Now()
				c := w.dial(h.peer)
				defer c.Close()
				go func() { _, _ = io.WriteString(c, h.sent) }()
				synctest.Wait()
				if status, from := ask(w.dial(balancer)); status != 200 || from != balancer {
					t.Errorf("another gets %d %q meanwhile", status, from)
				}
				_, _ = io.ReadAll(c)
				if took := time.Since(start); took > headerTimeout+time.Second {
					t.Errorf("it was let wait for %s", took)
				}
				if n := w.refusedFor(unfinished); n != h.counted {
					t.Errorf("%v were counted, want %v", n, h.counted)
				}
			})
		})
	}
}

// However many strangers send a header: the log says so once a minute, with who it was
// and what to do.
func TestStrangersFillNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(nil)
		defer w.stop()
		const many = 1000
		for range many {
			if status, _ := ask(&after{Conn: w.dial(other), first: v1, step: len(v1)}); status != 0 {
				t.Fatalf("a stranger's header is answered by %d", status)
			}
		}
		time.Sleep(time.Minute)
		ask(&after{Conn: w.dial(other), first: v1, step: len(v1)})
		lines := strings.Split(strings.TrimSpace(w.log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[1], fmt.Sprintf("refused_since_last_said=%d", many-1)) {
			t.Errorf("%d lines: %s", len(lines), &w.log)
		}
		for _, want := range []string{"peer=" + other, "FARSCRAPE_TRUSTED_PROXIES", "cause=stranger"} {
			if !strings.Contains(lines[0], want) {
				t.Errorf("%q is not in %s", want, lines[0])
			}
		}
		if n := w.refusedFor(stranger); n != many+1 {
			t.Errorf("%v were counted", n)
		}
	})
}

// The largest header that is read, but for its last byte, takes no more memory than a
// request that has not come to its end: 4 KiB of it, and some to read it.
func TestHalfAHeaderTakesLittleMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := serve(nil)
		defer w.stop()
		header := v2(proxyproto.PROXY, other, 4084)
		const many = 1000
		before := used()
		for range many {
			c := w.dial(balancer)
			defer c.Close()
			if _, err := io.WriteString(c, header[:len(header)-1]); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if each := (used() - before) / many; each > 16<<10 {
			t.Errorf("%d bytes each", each)
		}
	})
}

func used() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// What is beneath is found: a reset for a broken answer, and the end that is said first.
func TestTheSocketIsBeneath(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	l := Listen(tcp, Config{Logger: slog.New(slog.DiscardHandler)})
	far, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	if _, ok := near.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn); !ok {
		t.Errorf("beneath %T is no socket", near)
	}
	if err := near.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if n, err := far.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d bytes, %v", n, err)
	}
}
