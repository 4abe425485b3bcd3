package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A watch looks at what must hold whatever happens: discovery is whole or not
// there, and a replica that runs is ready unless it was told to stop.
type watch struct {
	stack   *stack
	agents  []string
	running sync.WaitGroup
	stop    context.CancelFunc

	mu      sync.Mutex
	listed  int      // whole lists
	refused int      // 503s
	partial []string // what lists lacked; a few of them
	lacking int      // lists that did
	unready map[string]int
}

func startWatch(s *stack) *watch {
	ctx, stop := context.WithCancel(s.Ctx)
	w := &watch{stack: s, agents: s.agentNames(), stop: stop, unready: make(map[string]int)}
	for _, r := range s.Replicas {
		w.running.Go(func() { w.follow(ctx, r) })
	}
	s.Cleanup(w.end)
	return w
}

func (w *watch) end() {
	w.stop()
	w.running.Wait()
}

func (w *watch) follow(ctx context.Context, r *rig.Replica) {
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{TLSClientConfig: w.stack.tls.client(), DisableKeepAlives: true}}
	tick := time.NewTicker(w.stack.plan.sdEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.discover(client, r)
			w.readiness(client, r)
		}
	}
}

// discover asks for the list. A replica that is not there has none.
func (w *watch) discover(client *http.Client, r *rig.Replica) {
	lists, status, err := w.stack.discovery(client, r)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if status != http.StatusOK {
		w.refused++
		return
	}
	for _, a := range w.agents {
		if want := len(standardTargets()) + 1; lists[a].targets != want { // and its own metrics
			w.lacking++
			w.partial = append(w.partial[:min(len(w.partial), 2)], fmt.Sprintf("%s of %s: %d of %d targets", r.Name, a, lists[a].targets, want))
			return
		}
	}
	w.listed++
}

func (w *watch) readiness(client *http.Client, r *rig.Replica) {
	resp, err := client.Get(w.stack.scheme() + r.Addr + "/-/ready")
	if err != nil {
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.mu.Lock()
		w.unready[r.Name]++
		w.mu.Unlock()
	}
}

// everUnready names a replica that has been.
func (w *watch) everUnready() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.unready {
		return name
	}
	return ""
}

// A listed agent is how discovery shows one.
type listed struct {
	targets   int
	connected bool
}

// discovery is a replica's list by agent, those of other names left out.
func (s *stack) discovery(client *http.Client, r *rig.Replica) (map[string]listed, int, error) {
	req, err := http.NewRequest("GET", s.scheme()+r.Addr+"/sd?agent=a*", nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode, nil
	}
	var groups []struct {
		Labels map[string]string `json:"labels"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&groups); err != nil {
		return nil, 0, err
	}
	all := make(map[string]listed)
	for _, g := range groups {
		a := all[g.Labels["agent"]]
		a.targets++
		a.connected = g.Labels["__meta_farscrape_connected"] == "true"
		all[g.Labels["agent"]] = a
	}
	return all, http.StatusOK, nil
}

// lists reports whether any replica lists the agent, and as what.
func (s *stack) lists(agent string) (found listed, ok bool) {
	for _, r := range s.Replicas {
		if all, _, err := s.discovery(http.DefaultClient, r); err == nil && slices.Contains(s.agentNames(), agent) && all[agent].targets > 0 {
			return all[agent], true
		}
	}
	return listed{}, false
}
