package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A job is a target that is scraped steadily, as Prometheus does it: at an
// interval, and never twice at once.
type job struct {
	agent  string
	target target
	via    string // host:port of the balancer or a replica
	name   string // of the replica; empty: the balancer chooses
	class  string
}

// A result is how one scrape went.
type result struct {
	job        *job
	start, end time.Time
	reason     string // ok, the Farscrape-Error, or how the connection failed
	status     int
	replica    string // that was asked, if it is known
	wrong      string // what is wrong with a 200
	late       bool   // answered after its time was up
}

func (r *result) ok() bool            { return r.reason == "ok" }
func (r *result) took() time.Duration { return r.end.Sub(r.start) }

// lateness is how long after a scrape's time is up an answer may come on a busy
// machine without being called late; noAnswer is how long it is waited for.
const (
	lateness = 300 * time.Millisecond
	noAnswer = 3 * time.Second
)

// front begins the reasons of what the balancer answered in a replica's place.
const front = "front_"

// A scraper runs jobs and keeps what came of them.
type scraper struct {
	token   string
	timeout time.Duration
	client  *http.Client
	scheme  string // with ://
	running sync.WaitGroup
	stop    context.CancelFunc

	mu      sync.Mutex
	results []result
	seen    map[uint64]bool // answers, by their sequence number
}

func startScraper(s *stack, jobs []job) *scraper {
	ctx, stop := context.WithCancel(s.Ctx)
	c := &scraper{token: s.token, timeout: s.plan.timeout, stop: stop, seen: make(map[uint64]bool), scheme: s.scheme(),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls.client(), DisableCompression: true, MaxIdleConnsPerHost: 200, IdleConnTimeout: 3 * time.Second}}}
	for i := range jobs {
		c.running.Go(func() { c.follow(ctx, &jobs[i]) })
	}
	s.Cleanup(c.end)
	return c
}

// end stops scraping and waits for what is in flight.
func (c *scraper) end() {
	c.stop()
	c.running.Wait()
	c.client.CloseIdleConnections()
}

func (c *scraper) follow(ctx context.Context, j *job) {
	select {
	case <-time.After(rand.N(j.target.every)):
	case <-ctx.Done():
	}
	tick := time.NewTicker(j.target.every)
	defer tick.Stop()
	for ctx.Err() == nil {
		c.keep(c.scrape(j))
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// scrape scrapes once. It waits longer than the scrape's own time, to see
// whether the relay keeps to it.
func (c *scraper) scrape(j *job) (r result, seq uint64) {
	r = result{job: j, start: time.Now(), replica: j.name}
	defer func() {
		r.end = time.Now()
		r.late = r.took() > c.timeout+lateness && !strings.HasPrefix(r.reason, front)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout+noAnswer)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", c.scheme+j.via+"/scrape/"+j.agent+"/"+j.target.name, nil)
	if err != nil {
		r.reason = err.Error()
		return r, 0
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(c.timeout.Seconds()))
	resp, err := c.client.Do(req)
	if err != nil {
		r.reason = connectionReason(err)
		return r, 0
	}
	defer resp.Body.Close()
	if at := resp.Header.Get(replicaHeader); at != "" {
		r.replica = at
	}
	b, err := io.ReadAll(resp.Body)
	r.status = resp.StatusCode
	switch reason := resp.Header.Get("Farscrape-Error"); {
	case resp.StatusCode != http.StatusOK && reason == "":
		r.reason = front + strconv.Itoa(resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		r.reason = reason
	case err != nil:
		r.reason = "cut"
	default:
		r.reason = "ok"
		seq, r.wrong = j.check(b)
	}
	return r, seq
}

// check says which answer a 200 is, or what is wrong with it.
func (j *job) check(b []byte) (seq uint64, wrong string) {
	agent, target, seq, err := rig.ParseBody(b)
	switch {
	case err != nil:
		return 0, err.Error()
	case agent != j.agent || target != j.target.name:
		return 0, "the answer of " + agent + "/" + target
	}
	return seq, ""
}

func connectionReason(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return "no_answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	}
	return "reset"
}

func (c *scraper) keep(r result, seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.ok() && r.wrong == "" {
		if c.seen[seq] {
			r.wrong = "an answer that another scrape had"
		}
		c.seen[seq] = true
	}
	c.results = append(c.results, r)
}

// since are the results of the scrapes that ended after t: those with them that
// were in flight then.
func (c *scraper) since(t time.Time) []result {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []result
	for _, r := range c.results {
		if r.end.After(t) {
			all = append(all, r)
		}
	}
	return all
}

// writeFailed writes down every scrape that failed, for whoever looks for the
// cause.
func writeFailed(file string, results []result) error {
	var b []byte
	for _, r := range results {
		if !r.ok() || r.wrong != "" {
			b = fmt.Appendf(b, "%s %s/%s by %s: %d %s %s after %s\n", r.start.UTC().Format("15:04:05.000"),
				r.job.agent, r.job.target.name, r.replica, r.status, r.reason, r.wrong, r.took())
		}
	}
	return os.WriteFile(file, b, 0o600)
}

// throughBalancer scrapes every target through the balancer.
func throughBalancer(s *stack) []job {
	return s.jobs("", func(*agent) (string, string) { return s.balancer.addr, "" })
}

// jobs are one for each target, at the address and replica that via says.
func (s *stack) jobs(class string, via func(*agent) (addr, name string)) []job {
	var all []job
	for _, a := range s.agents {
		if a.plan.twin {
			continue
		}
		for _, t := range standardTargets() {
			addr, name := via(a)
			j := job{agent: a.plan.name, target: t, via: addr, name: name, class: class}
			if t.class != "" {
				j.class = t.class
			}
			all = append(all, j)
		}
	}
	return all
}
