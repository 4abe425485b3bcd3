package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// A payload is a body that the target serves, and what its path is.
type payload struct {
	path string
	gzip bool
	body []byte
	sent []byte // the whole answer, header and body
}

// target is what an agent calls the path.
func (p *payload) target() string { return strings.ReplaceAll(p.path[1:], "/", "-") }

// newPayload makes one of a size such as 500kB, in decimal units.
func newPayload(size string, compressed bool) (*payload, error) {
	n, err := parseSize(size)
	if err != nil {
		return nil, err
	}
	p := &payload{path: "/identity/" + size, gzip: compressed, body: exposition(n)}
	header := "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
	if compressed {
		p.path = "/gzip/" + size
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(p.body)
		_ = w.Close()
		p.body = b.Bytes()
		header += "Content-Encoding: gzip\r\n"
	}
	p.sent = append(fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n", header, len(p.body)), p.body...)
	return p, nil
}

// parseSize reads a size in bytes, kB or MB.
func parseSize(s string) (int, error) {
	digits, unit := s, 1
	for name, factor := range map[string]int{"kB": 1e3, "MB": 1e6} {
		if rest, ok := strings.CutSuffix(s, name); ok {
			digits, unit = rest, factor
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("a size is 20kB or 5MB or bytes, not %q", s)
	}
	return n * unit, nil
}

// exposition is n bytes of metrics, which gzip to about a ninth, as real ones do.
func exposition(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2)) // the same in every run
	b := make([]byte, 0, n+256)
	for i := 0; len(b) < n; i++ {
		if i%12 == 0 {
			b = fmt.Appendf(b, "# HELP http_requests_%d_total The number of requests that were served.\n# TYPE http_requests_%[1]d_total counter\n", i/12)
		}
		b = fmt.Appendf(b, "http_requests_%d_total{method=\"GET\",handler=\"/api/v1/items/%d\",code=\"200\"} %d\n", i/12, i%12, r.IntN(2_000_000))
	}
	b = b[:n]
	b[n-1] = '\n'
	return b
}

// A targetServer answers as little as a target can: a canned answer for each
// path, over kept connections.
type targetServer struct {
	addr     string
	payloads map[string]*payload
}

func (b *bench) startTarget(payloads []*payload) *targetServer {
	s := &targetServer{payloads: make(map[string]*payload)}
	for _, p := range payloads {
		s.payloads[p.path] = p
	}
	s.addr = b.Accept(s.serve)
	return s
}

// declared is an agent's FARSCRAPE_TARGETS.
func (s *targetServer) declared() string {
	var all []string
	for _, p := range s.payloads {
		all = append(all, p.target()+"=http://"+s.addr+p.path)
	}
	return strings.Join(all, ",")
}

func (s *targetServer) serve(conn *net.TCPConn) {
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		sent := []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		if p := s.payloads[r.URL.Path]; p != nil {
			sent = p.sent
		}
		if _, err := conn.Write(sent); err != nil {
			return
		}
	}
}
