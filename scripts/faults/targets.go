package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
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

// A targetServer serves all targets of all agents: /AGENT/TARGET/SIZE/DELAY.
type targetServer struct {
	addr     string
	sequence atomic.Uint64 // of all answers, so that none comes twice
}

func (s *stack) startTargets() *targetServer {
	serving := new(targetServer)
	serving.addr = s.Serve(http.HandlerFunc(serving.serve))
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
	_, _ = w.Write(rig.Body(part[1], part[2], s.sequence.Add(1), size))
}

// urls is an agent's FARSCRAPE_TARGETS.
func (s *targetServer) urls(agent string, targets []target) string {
	var all []string
	for _, t := range targets {
		all = append(all, fmt.Sprintf("%s=http://%s/%s/%s/%d/%s", t.name, s.addr, agent, t.name, t.size, t.delay))
	}
	return strings.Join(all, ",")
}
