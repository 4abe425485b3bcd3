package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// big takes several writes.
var big = strings.Repeat("x", 192<<10)

func TestStreamedAnswer(t *testing.T) { plainAndTLS(t, testStreamedAnswer) }

func testStreamedAnswer(t *testing.T, newBench makeBench) {
	b := newBench(t)
	for name, length := range map[string]int64{"length known": int64(len(big)), "not known": -1} {
		b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
			return streamed(length, nil, big[:10], big[10:]), nil
		}
		o := b.get(t, "/scrape/edge-1/node")
		o.want(t, 200, "")
		if o.body != big || o.err != nil || o.ContentLength != length {
			t.Errorf("%s: %d bytes of %d, %v", name, len(o.body), o.ContentLength, o.err)
		}
	}
}

// What has been said by a target that then pauses must not wait for the rest.
func TestStreamedAnswerIsFlushed(t *testing.T) { plainAndTLS(t, testStreamedAnswerIsFlushed) }

func testStreamedAnswerIsFlushed(t *testing.T, newBench makeBench) {
	b := newBench(t)
	gate := make(chan struct{})
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, "first")
			<-gate
			_, _ = io.WriteString(w, "second")
			w.Close()
		}()
		return &wire.Answer{Head: wire.Head{Status: 200}, Length: -1, Body: r, Route: "bus"}, nil
	}
	conn := b.dial(t)
	_, _ = io.WriteString(conn, "GET /scrape/edge-1/node HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+b.scraper+"\r\n\r\n")
	got := readUntil(t, conn, "first")
	if strings.Contains(got, "second") {
		t.Error("too soon")
	}
	close(gate)
	readUntil(t, conn, "second\r\n0\r\n\r\n")
}

// A body that fails after the header is out must not look whole, whatever HTTP
// the client speaks.
func TestBrokenAnswerLooksBroken(t *testing.T) { plainAndTLS(t, testBrokenAnswerLooksBroken) }

func testBrokenAnswerLooksBroken(t *testing.T, newBench makeBench) {
	b := newBench(t, func(c *Config) { c.MaxBody = int64(len(big)) })
	for name, answer := range map[string]func() *wire.Answer{
		"fails, length known":     func() *wire.Answer { return streamed(128<<10, errors.New("lost"), big[:64<<10]) },
		"fails, length not known": func() *wire.Answer { return streamed(-1, errors.New("lost"), big[:64<<10]) },
		"typed failure":           func() *wire.Answer { return streamed(-1, wire.Errorf(wire.TargetBadAnswer, "x"), big[:9]) },
		"shorter than announced":  func() *wire.Answer { return streamed(100, nil, big[:99]) },
		"longer than announced":   func() *wire.Answer { return streamed(100<<10, nil, big) },
		"past MAX_BODY":           func() *wire.Answer { return streamed(-1, nil, big, "x") },
	} {
		b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) { return answer(), nil }
		o := b.get(t, "/scrape/edge-1/node")
		if o.StatusCode != 200 || o.err == nil {
			t.Errorf("%s, HTTP/1.1: %d, %d bytes, looks whole", name, o.StatusCode, len(o.body))
		}
		for _, version := range []string{"1.0", "1.0\r\nConnection: keep-alive"} {
			conn := b.dial(t)
			_, _ = io.WriteString(conn, "GET /scrape/edge-1/node HTTP/"+version+"\r\nAuthorization: Bearer "+b.scraper+"\r\n\r\n")
			if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s, HTTP/%q: ends with %v, want a reset", name, version, err)
			}
		}
	}
}

func TestFailureBeforeTheFirstByteHasAReason(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxBody = 10 })
	for name, test := range map[string]struct {
		answer func() *wire.Answer
		reason wire.Reason
	}{
		"typed":                  {func() *wire.Answer { return streamed(-1, wire.Errorf(wire.BusUnavailable, "gap")) }, wire.BusUnavailable},
		"untyped":                {func() *wire.Answer { return streamed(-1, errors.New("x")) }, wire.Internal},
		"length over MAX":        {func() *wire.Answer { return whole(200, big) }, wire.BodyTooLarge},
		"Content-Length over":    {func() *wire.Answer { a := streamed(-1, nil); a.Header = length("11"); return a }, wire.BodyTooLarge},
		"shorter than announced": {func() *wire.Answer { return streamed(1, nil) }, wire.AgentProtocol},
		"longer than announced":  {func() *wire.Answer { return streamed(1, nil, "ab") }, wire.AgentProtocol},
		"first bytes over":       {func() *wire.Answer { return streamed(-1, nil, big) }, wire.BodyTooLarge},
		"status 99":              {func() *wire.Answer { return whole(99, "") }, wire.AgentProtocol},
		"status 0":               {func() *wire.Answer { return whole(0, "") }, wire.AgentProtocol},
		"status 999":             {func() *wire.Answer { return whole(999, "") }, wire.AgentProtocol},
	} {
		b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) { return test.answer(), nil }
		o := b.get(t, "/scrape/edge-1/node")
		if t.Log(name); o.reason() != test.reason.String() {
			o.want(t, test.reason.Status(), test.reason.String())
		}
	}
}

// In path mode all targets and we ourselves share an origin, and each field that
// browsers act on for all of it would be one more to know of. So what is not
// known to speak for the answer alone stays here.
func TestPathModePassesOnlyWhatSpeaksForTheAnswer(t *testing.T) {
	passes := []string{"Accept-Ranges", "Age", "Cache-Control", "Content-Encoding", "Content-Language", "Content-Type", "Date", "Etag", "Expires",
		"Last-Modified", "Retry-After", "Server", "Vary", "Warning", "X-Request-Id", "X-Prometheus-Anything", "X-Powered-By"}
	stays := []string{"Accept-Ch", "Accept-Ch-Lifetime", "Access-Control-Allow-Origin", "Alt-Svc", "Attribution-Reporting-Register-Source", "Clear-Site-Data",
		"Content-Disposition", "Content-Location", "Critical-Ch", "Cross-Origin-Embedder-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy",
		"Document-Policy", "Expect-Ct", "Feature-Policy", "Integrity-Policy", "Link", "Location", "Nel", "No-Vary-Search", "Observe-Browsing-Topics",
		"Origin-Agent-Cluster", "Origin-Trial", "P3p", "Permissions-Policy", "Public-Key-Pins", "Referrer-Policy", "Refresh", "Report-To", "Reporting-Endpoints",
		"Service-Worker-Allowed", "Set-Cookie", "Set-Cookie2", "Set-Login", "Sourcemap", "Speculation-Rules", "Strict-Transport-Security", "Supports-Loading-Mode",
		"Timing-Allow-Origin", "Use-As-Dictionary", "Www-Authenticate", "Window-Target", "X-Dns-Prefetch-Control", "X-Permitted-Cross-Domain-Policies",
		"X-Sourcemap", "X-Ua-Compatible", "X-Webkit-Csp", "X-Xss-Protection", "Whatever-Comes-Next"}
	// What front-ends act on stays here in both modes: nginx would answer with a
	// file of its own.
	never := []string{"X-Accel-Redirect", "x-accel-expires", "X-Accel-Buffering", "X-Sendfile", "X-Sendfile-Type", "X-Lighttpd-Send-File", "X-Litespeed-Location", "X-Reproxy-Url"}
	b := newBench(t)
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		var fields []wire.Field
		for _, name := range slices.Concat(passes, stays, never) {
			fields = append(fields, wire.Field{Name: name, Value: "x"})
		}
		return whole(401, "", fields...), nil
	}
	for mode, request := range map[string]string{
		"path":  "GET /scrape/edge-1/node HTTP/1.1\nHost: x\n",
		"proxy": "GET http://edge-1/ HTTP/1.1\nHost: x\n",
	} {
		o := b.send(t, request+"Farscrape-Token: "+b.scraper+"\n\n")
		o.want(t, 401, "target")
		for _, name := range slices.Concat(passes, stays, never) {
			want := slices.Contains(passes, name) || mode == "proxy" && slices.Contains(stays, name)
			if got := o.Header.Get(name) == "x"; got != want {
				t.Errorf("%s mode: %s passes: %v", mode, name, got)
			}
		}
	}
}

// Each part of a multipart answer has a header of its own, which browsers act on.
func TestPathModePassesNoMultipart(t *testing.T) {
	b := newBench(t)
	for sent, want := range map[string]string{
		"multipart/x-mixed-replace; boundary=x": "application/octet-stream",
		"Multipart/Mixed;boundary=x":            "application/octet-stream",
		" multipart/related":                    "application/octet-stream",
		"text/plain; version=0.0.4":             "text/plain; version=0.0.4",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited": "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
	} {
		b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
			return whole(200, "--x\r\nSet-Cookie: a=b\r\n\r\n--x--", wire.Field{Name: "content-type", Value: sent}), nil
		}
		if o := b.get(t, "/scrape/edge-1/node"); o.StatusCode != 200 || o.Header.Get("Content-Type") != want || len(o.Header["Content-Type"]) != 1 {
			t.Errorf("%q: %d %q", sent, o.StatusCode, o.Header["Content-Type"])
		}
		if o := b.send(t, "GET http://edge-1/ HTTP/1.1\nHost: x\nFarscrape-Token: "+b.scraper+"\n\n"); o.Header.Get("Content-Type") != strings.TrimSpace(sent) {
			t.Errorf("proxy mode, %q: %q", sent, o.Header["Content-Type"])
		}
	}
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		return whole(200, "", wire.Field{Name: "Content-Type", Value: "text/plain"}, wire.Field{Name: "Content-Type", Value: "multipart/mixed"}), nil
	}
	if o := b.get(t, "/scrape/edge-1/node"); strings.Contains(strings.Join(o.Header["Content-Type"], " "), "multipart") {
		t.Errorf("the second of two: %q", o.Header["Content-Type"])
	}
}

func length(n string) []wire.Field { return []wire.Field{{Name: "content-length", Value: n}} }

func TestAnswerHeader(t *testing.T) {
	b := newBench(t)
	b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
		return whole(200, "<html>", []wire.Field{
			{Name: "Connection", Value: "x-private, close"}, {Name: "X-Private", Value: "1"},
			{Name: "Transfer-Encoding", Value: "chunked"}, {Name: "Trailer", Value: "X"}, {Name: "Proxy-Connection", Value: "x"},
			{Name: "Content-Length", Value: "3"}, {Name: "content-encoding", Value: "gzip"},
			{Name: "Set-Cookie", Value: "a=b"}, {Name: "Content-Security-Policy", Value: "default-src *"},
			{Name: "FARSCRAPE-Anything", Value: "x"}, {Name: "X-Two", Value: "1"}, {Name: "X-Two", Value: "2"},
		}...), nil
	}
	path := b.get(t, "/scrape/edge-1/node")
	proxy := b.send(t, "GET http://edge-1/ HTTP/1.1\nHost: edge-1\nFarscrape-Token: "+b.scraper+"\n\n")
	for name, o := range map[string]outcome{"path": path, "proxy": proxy} {
		o.want(t, 200, "")
		for _, dropped := range []string{"Connection", "X-Private", "Transfer-Encoding", "Trailer", "Proxy-Connection", "Farscrape-Anything"} {
			if v := o.Header.Values(dropped); len(v) > 0 {
				t.Errorf("%s: %s: %q", name, dropped, v)
			}
		}
		if o.ContentLength != 6 || o.Header.Get("Content-Encoding") != "gzip" || len(o.Header["X-Two"]) != 2 {
			t.Errorf("%s: %v", name, o.Header)
		}
	}
	if path.Header.Get("Set-Cookie") != "" || path.Header.Get("Content-Security-Policy") != "sandbox; default-src 'none'" {
		t.Errorf("path mode lets a target speak for our origin: %v", path.Header)
	}
	if proxy.Header.Get("Set-Cookie") == "" || proxy.Header.Get("Content-Security-Policy") != "default-src *" {
		t.Errorf("proxy mode: %v", proxy.Header)
	}
}

// Prometheus fails a scrape without a Content-Type; one that we guessed would
// hide that.
func TestNoContentTypeIsMadeUp(t *testing.T) {
	b := newBench(t)
	for name, a := range map[string]*wire.Answer{"whole": whole(200, "<html>"), "empty": whole(200, ""), "streamed": streamed(-1, nil, "<html>")} {
		a.Header = nil
		b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) { return a, nil }
		if o := b.get(t, "/scrape/edge-1/node"); o.StatusCode != 200 || o.Header["Content-Type"] != nil {
			t.Errorf("%s: %d %q", name, o.StatusCode, o.Header["Content-Type"])
		}
	}
}

func (b *bench) dial(t *testing.T) net.Conn {
	t.Helper()
	return dial(t, b.addr, b.tls)
}

// dial opens a connection, that speaks TLS where there is a configuration for it.
func dial(t *testing.T, addr string, conf *tls.Config) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if conf != nil {
		conf = conf.Clone()
		conf.ServerName = "localhost"
		conn = tls.Client(conn, conf)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

func readUntil(t *testing.T, conn net.Conn, want string) string {
	t.Helper()
	var got strings.Builder
	buf := make([]byte, 1024)
	for !strings.Contains(got.String(), want) {
		n, err := conn.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q, before %q", err, got.String(), want)
		}
	}
	return got.String()
}

// Prometheus would follow a redirect to another target, or away with its token.
func TestNoRedirectIsPassedOn(t *testing.T) {
	b := newBench(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		b.answer = func(context.Context, *wire.Scrape) (*wire.Answer, error) {
			return whole(status, "", wire.Field{Name: "Location", Value: "/scrape/edge-2/node"}), nil
		}
		o := b.get(t, "/scrape/edge-1/node")
		o.want(t, 502, wire.TargetRedirect.String())
		if o.Header.Get("Location") != "" {
			t.Errorf("%d: it says where to", status)
		}
	}
}
