package main

import (
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A target answers like an exporter, with a body that says whose it is, which
// answer it is, and what all of it adds up to: a 200 with any other is wrong.
type target struct {
	name  string
	size  int           // of its body, about
	delay time.Duration // before it answers
	every time.Duration // scraped so often
	class string        // counted apart under this name; empty: not
}

// large is the class of answers that fit no first window.
const large = "large"

// standardTargets are what each agent has: answers of the usual sizes and
// times, some slow enough to be in flight whenever something breaks, and one
// large one.
func standardTargets() []target {
	var all []target
	for i, ms := range []int{0, 0, 1, 5, 20, 50, 100, 400} {
		all = append(all, target{name: fmt.Sprintf("t%d", i), size: 1000 << (i % 4), delay: time.Duration(ms) * time.Millisecond, every: 500 * time.Millisecond})
	}
	return append(all, target{name: large, size: 600_000, delay: 10 * time.Millisecond, every: 2 * time.Second, class: large})
}

// body is a target's answer.
func body(agent, name string, sequence uint64, size int) []byte {
	b := fmt.Appendf(make([]byte, 0, size+256), "# whose %s/%s %d\n", agent, name, sequence)
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, "fault_sample{agent=%q,target=%q,n=\"%d\"} %d\n", agent, name, i, sequence)
	}
	return fmt.Appendf(b, "# sum %08x\n", crc32.ChecksumIEEE(b))
}

// checkBody says what is wrong with a body of that target; seq is which answer
// it is.
func checkBody(b []byte, agent, name string) (seq uint64, wrong string) {
	text := string(b)
	cut := strings.LastIndex(text, "# sum ")
	first, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(first)
	switch {
	case len(fields) != 4 || fields[1] != "whose":
		return 0, fmt.Sprintf("no answer of a target's: %.60q", text)
	case fields[2] != agent+"/"+name:
		return 0, "the answer of " + fields[2]
	case cut < 0:
		return 0, fmt.Sprintf("truncated to %d bytes", len(b))
	case text[cut:] != fmt.Sprintf("# sum %08x\n", crc32.ChecksumIEEE(b[:cut])):
		return 0, "bytes of something else in it"
	}
	seq, _ = strconv.ParseUint(fields[3], 10, 64)
	return seq, ""
}

// A targetServer serves all targets of all agents: /AGENT/TARGET/SIZE/DELAY.
type targetServer struct {
	addr     string
	sequence atomic.Uint64 // of all answers, so that none comes twice
}

func (s *stack) startTargets() *targetServer {
	serving := new(targetServer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.Must(err)
	serving.addr = l.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(serving.serve)}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	s.Cleanup(func() { _ = server.Close(); running.Wait() })
	return serving
}

func (s *targetServer) serve(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(r.URL.Path, "/")
	if len(part) != 5 {
		http.NotFound(w, r)
		return
	}
	size, _ := strconv.Atoi(part[3])
	delay, _ := time.ParseDuration(part[4])
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = w.Write(body(part[1], part[2], s.sequence.Add(1), size))
}

// urls is an agent's FARSCRAPE_TARGETS.
func (s *targetServer) urls(agent string, targets []target) string {
	var all []string
	for _, t := range targets {
		all = append(all, fmt.Sprintf("%s=http://%s/%s/%s/%d/%s", t.name, s.addr, agent, t.name, t.size, t.delay))
	}
	return strings.Join(all, ",")
}
