package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// The targets that every honest agent has.
const (
	small   = "t"     // answers at once
	large   = "large" // answers at once, and a lot
	slow    = "slow"  // answers when it is asked no more
	subtree = "tree"  // all paths under it, as small
)

const (
	smallSize = 2 << 10
	largeSize = 8 << 20
)

// body is an answer of a target's: it says whose it is, which answer it is, and
// what all of it adds up to.
func body(agent, name string, sequence uint64, size int) []byte {
	b := fmt.Appendf(make([]byte, 0, size+256), "# whose %s/%s %d\n", agent, name, sequence)
	sample := fmt.Appendf(nil, "attack_sample{agent=%q,target=%q} %d\n", agent, name, sequence)
	for len(b) < size {
		b = append(b, sample...)
	}
	return fmt.Appendf(b, "# sum %08x\n", crc32.ChecksumIEEE(b))
}

// whose is the agent and target whose body it is, whole; empty if it is none.
func whose(b []byte) (agent, name string, sequence uint64) {
	first, _, _ := bytes.Cut(b, []byte("\n"))
	fields := strings.Fields(string(first))
	if len(fields) != 4 || fields[1] != "whose" {
		return "", "", 0
	}
	agent, name, _ = strings.Cut(fields[2], "/")
	sequence, _ = strconv.ParseUint(fields[3], 10, 64)
	size := smallSize
	if name == large {
		size = largeSize
	}
	if !bytes.Equal(b, body(agent, name, sequence, size)) {
		return "", "", 0
	}
	return agent, name, sequence
}

// A targetServer serves all targets of all honest agents: /AGENT/TARGET.
type targetServer struct {
	addr     string
	sequence atomic.Uint64 // of all answers, so that none comes twice

	mu   sync.Mutex
	last map[string]*http.Request // by AGENT/TARGET
	asks map[string]int
}

func (s *stack) startTargets() *targetServer {
	serving := &targetServer{last: make(map[string]*http.Request), asks: make(map[string]int)}
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
	part := strings.SplitN(r.URL.Path, "/", 4)
	if len(part) < 3 {
		http.NotFound(w, r)
		return
	}
	agent, name := part[1], part[2]
	s.mu.Lock()
	s.last[agent+"/"+name] = r
	s.asks[agent]++
	s.mu.Unlock()
	size := smallSize
	switch name {
	case slow:
		<-r.Context().Done()
		return
	case large:
		size = largeSize
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = w.Write(body(agent, name, s.sequence.Add(1), size))
}

// asked is how often any target of that agent was.
func (s *targetServer) asked(agent string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asks[agent]
}

// got is the header that the agent's target got last.
func (s *targetServer) got(agent, name string) *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.last[agent+"/"+name]; r != nil {
		return r
	}
	return &http.Request{Header: http.Header{}}
}

// port is what all targets share.
func (s *targetServer) port() string {
	_, port, _ := net.SplitHostPort(s.addr)
	return port
}

// urls is an agent's FARSCRAPE_TARGETS.
func (s *targetServer) urls(agent string) string {
	var all []string
	for _, t := range []string{small, large, slow} {
		all = append(all, fmt.Sprintf("%s=http://%s/%s/%s", t, s.addr, agent, t))
	}
	return strings.Join(append(all, fmt.Sprintf("%s=http://%s/%s/%s/*", subtree, s.addr, agent, subtree)), ",")
}

// listedTargets are those of an honest agent's that discovery shows: all but the
// subtree, and the agent's own.
const listedTargets = 4
