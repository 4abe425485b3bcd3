package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// A way is how a system is asked for one agent's target: the address to connect
// to, and the request without what every scrape has.
type way struct {
	addr   string
	target string // the request target: a path, or a whole URL for a proxy
	host   string
	header string // lines of its own
}

// through is the way to rawURL: by a proxy, if one is named, else straight.
func through(proxy, rawURL, header string) (way, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return way{}, fmt.Errorf("%q is no URL", rawURL)
	}
	if proxy == "" {
		return way{u.Host, u.RequestURI(), u.Host, header}, nil
	}
	p, err := url.Parse(proxy)
	if err != nil || p.Host == "" {
		return way{}, fmt.Errorf("%q is no URL of a proxy", proxy)
	}
	return way{p.Host, rawURL, u.Host, header}, nil
}

// request is a scrape as Prometheus sends it.
func (w way) request(compressed bool) []byte {
	encoding := "identity"
	if compressed {
		encoding = "gzip"
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Prometheus/3.0.0\r\n"+
		"Accept: application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5\r\n"+
		"Accept-Encoding: %s\r\nX-Prometheus-Scrape-Timeout-Seconds: %d\r\n%s\r\n", w.target, w.host, encoding, scrapeTimeout/time.Second, w.header)
}

// scrapeTimeout is every scrape's: long enough for 200 MB.
const scrapeTimeout = 60 * time.Second

// figures are what a load measured.
type figures struct {
	scrapes int
	took    []time.Duration // of each scrape, ascending
	length  time.Duration   // of the whole
	failed  int
	why     string // the first failure
}

func (f *figures) perSecond() float64 { return float64(f.scrapes) / f.length.Seconds() }

// quantile is that of the scrapes' durations; 0 without any.
func (f *figures) quantile(q float64) time.Duration {
	if len(f.took) == 0 {
		return 0
	}
	return f.took[min(int(q*float64(len(f.took))), len(f.took)-1)]
}

// load has n scrapers ask in a closed loop, each over its own connection and all
// agents in turn, until ctx ends: as fast as they can, or so many scrapes a second
// together if rate is not 0. A scrape that has begun is finished.
func load(ctx context.Context, n int, rate float64, ways []way, p *payload) *figures {
	requests := make([][]byte, len(ways))
	for i, w := range ways {
		requests[i] = w.request(p.gzip)
	}
	all := make([]figures, n)
	began := time.Now()
	var running sync.WaitGroup
	for i := range all {
		running.Go(func() {
			s := scraper{payload: p, buffer: make([]byte, 64<<10), conns: make(map[string]*connection)}
			defer s.close()
			var turn <-chan time.Time
			if rate > 0 {
				every := time.Duration(float64(n) / rate * float64(time.Second))
				time.Sleep(every * time.Duration(i) / time.Duration(n)) // a little apart
				tick := time.NewTicker(every)
				defer tick.Stop()
				turn = tick.C
			}
			for next := i * len(ways) / n; ctx.Err() == nil; next++ {
				at := next % len(ways)
				all[i].note(s.scrape(ways[at].addr, requests[at]))
				if rate > 0 {
					select {
					case <-turn:
					case <-ctx.Done():
					}
				}
			}
		})
	}
	running.Wait()
	sum := &figures{length: time.Since(began)}
	for _, f := range all {
		sum.scrapes += f.scrapes
		sum.failed += f.failed
		sum.took = append(sum.took, f.took...)
		if sum.why == "" {
			sum.why = f.why
		}
	}
	slices.Sort(sum.took)
	return sum
}

func (f *figures) note(took time.Duration, err error) {
	if err != nil {
		f.failed++
		if f.why == "" {
			f.why = err.Error()
		}
		time.Sleep(10 * time.Millisecond) // what refuses is not to be stormed
		return
	}
	f.scrapes++
	f.took = append(f.took, took)
}

// A scraper asks, reads and compares. Its own cost is small beside that of what
// is measured: it shares the machine.
type scraper struct {
	payload *payload
	buffer  []byte
	conns   map[string]*connection
}

type connection struct {
	net.Conn
	in *bufio.Reader
}

func (s *scraper) close() {
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// scrape asks once, over a kept connection.
func (s *scraper) scrape(addr string, request []byte) (time.Duration, error) {
	c := s.conns[addr]
	if c == nil {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return 0, err
		}
		c = &connection{conn, bufio.NewReaderSize(conn, 16<<10)}
		s.conns[addr] = c
	}
	began := time.Now()
	_ = c.SetDeadline(began.Add(scrapeTimeout))
	keep, err := s.exchange(c, request)
	if err != nil || !keep {
		_ = c.Close()
		delete(s.conns, addr)
	}
	return time.Since(began), err
}

func (s *scraper) exchange(c *connection, request []byte) (keep bool, err error) {
	if _, err := c.Write(request); err != nil {
		return false, err
	}
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return false, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		detail, _ := io.ReadAll(io.LimitReader(r.Body, 200))
		return false, fmt.Errorf("status %s: %s", r.Status, bytes.TrimSpace(detail))
	}
	if compressed := r.Header.Get("Content-Encoding") == "gzip"; compressed != s.payload.gzip {
		return false, fmt.Errorf("Content-Encoding is %q", r.Header.Get("Content-Encoding"))
	}
	return !r.Close, s.compare(r.Body)
}

// compare reads a body and says where it is not the target's.
func (s *scraper) compare(body io.Reader) error {
	want := s.payload.body
	for {
		n, err := body.Read(s.buffer)
		if n > len(want) || !bytes.Equal(s.buffer[:n], want[:n]) {
			return fmt.Errorf("another body, from byte %d on", len(s.payload.body)-len(want))
		}
		want = want[n:]
		switch {
		case err == io.EOF && len(want) == 0:
			return nil
		case err == io.EOF:
			return fmt.Errorf("%d bytes are missing", len(want))
		case err != nil:
			return err
		}
	}
}
