package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/scripts/rig"
)

// A bystander asks for something steadily, on a connection that it keeps, and
// has nothing to do with any attack.
type bystander struct {
	name  string
	every time.Duration
	least int // how often it asks before and during an attack
	ask   func(*http.Client) error

	mu   sync.Mutex
	past []asked
}

// asked is how one time went.
type asked struct {
	end  time.Time
	took time.Duration
	err  error
}

// How often bystanders ask. Scrapes a row are at least a hundred.
const (
	scrapeEvery = 5 * time.Millisecond
	scrapeLeast = 100
	pageEvery   = 50 * time.Millisecond
	pageLeast   = 10
)

// startLoad starts all bystanders: the scrapers of two agents, through their own
// replica and over the bus, and those who look at pages.
func (s *stack) startLoad() {
	for _, a := range s.agents[:2] {
		for i, r := range s.Replicas {
			if !s.plan.apart || i == a.replica {
				s.addBystander(a.name+" by "+r.Name, scrapeEvery, scrapeLeast, s.scraping(a, r))
			}
		}
	}
	for _, r := range s.Replicas {
		s.addBystander("pages of "+r.Name, pageEvery, pageLeast, s.looking(r))
	}
	ctx, stop := context.WithCancel(s.Ctx)
	var running sync.WaitGroup
	for _, b := range s.load {
		running.Go(func() { b.run(ctx) })
	}
	s.Cleanup(func() { stop(); running.Wait() })
}

func (s *stack) addBystander(name string, every time.Duration, least int, ask func(*http.Client) error) {
	s.load = append(s.load, &bystander{name: name, every: every, least: least, ask: ask})
}

func (b *bystander) run(ctx context.Context) {
	client := &http.Client{Timeout: 6 * time.Second, Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		err := b.ask(client)
		end := time.Now()
		b.mu.Lock()
		b.past = append(b.past, asked{end, end.Sub(began), err})
		b.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// between are the times that ended then; those before are forgotten.
func (b *bystander) between(from, to time.Time) []asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.past = slices.DeleteFunc(b.past, func(a asked) bool { return a.end.Before(from) })
	var all []asked
	for _, a := range b.past {
		if a.end.Before(to) {
			all = append(all, a)
		}
	}
	return all
}

// get asks a replica as a scraper of that tenant does.
func (s *stack) get(client *http.Client, r *rig.Replica, path, tenantToken string) (*http.Response, []byte, error) {
	req, err := http.NewRequest("GET", r.URL(path), nil)
	if err != nil {
		return nil, nil, err
	}
	if !s.plan.noAuth {
		req.Header.Set("Authorization", "Bearer "+tenantToken)
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "5")
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", resp.StatusCode, resp.Header.Get(wire.HeaderError))
	}
	return resp, b, err
}

// scraping scrapes an agent's small target, and wants the very bytes that the
// target wrote, and none twice.
func (s *stack) scraping(a *agent, r *rig.Replica) func(*http.Client) error {
	token, before := s.scraperToken(a.tenant), uint64(0)
	return func(client *http.Client) error {
		_, b, err := s.get(client, r, "/scrape/"+a.name+"/"+small, token)
		if err != nil {
			return err
		}
		agent, name, sequence, err := rig.ParseBody(b)
		if err != nil || agent != a.name || name != small || sequence <= before {
			return fmt.Errorf("wrong answer: %.60q", b)
		}
		before = sequence
		return nil
	}
}

// looking looks at readiness and at the lists of both tenants in turn.
func (s *stack) looking(r *rig.Replica) func(*http.Client) error {
	agents := s.agents[:2]
	tokens := []string{s.scraperToken(agents[0].tenant), s.scraperToken(agents[1].tenant)}
	turn := 0
	return func(client *http.Client) error {
		turn++
		if turn %= 3; turn == 2 {
			_, _, err := s.get(client, r, "/-/ready", "")
			return err
		}
		a := agents[turn]
		_, b, err := s.get(client, r, "/sd?agent="+a.name, tokens[turn])
		if err != nil {
			return fmt.Errorf("/sd: %w", err)
		}
		var groups []struct {
			Labels map[string]string `json:"labels"`
		}
		if err := json.Unmarshal(b, &groups); err != nil {
			return fmt.Errorf("/sd: %w", err)
		}
		found := 0
		for _, g := range groups {
			if g.Labels["agent"] == a.name && g.Labels["__meta_farscrape_connected"] == "true" {
				found++
			}
		}
		if found != listedTargets || len(groups) != listedTargets {
			return fmt.Errorf("/sd: %d of %d targets of %s, %d connected", len(groups), listedTargets, a.name, found)
		}
		return nil
	}
}

// p99 is the 99th percentile of how long it took, failures aside.
func p99(all []asked) time.Duration {
	var took []time.Duration
	for _, a := range all {
		if a.err == nil {
			took = append(took, a.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[int(0.99*float64(len(took)-1))]
}
