package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/farscrape/farscrape/scripts/rig"
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
	serving.addr = s.Serve(http.HandlerFunc(serving.serve))
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
	_, _ = w.Write(rig.Body(agent, name, s.sequence.Add(1), size))
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
