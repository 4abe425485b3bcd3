package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A round is one system under load, once.
type round struct {
	*figures
	cpu       time.Duration     // of its processes, a scrape
	memory    int               // their peaks together, bytes
	publishes float64           // a scrape; of the bus
	redis     time.Duration     // its processor time, a scrape; of the bus
	lookups   float64           // of the directory, a scrape; of the bus
	own       map[string]effort // of our own processes, by name, a scrape
}

// warmUp is scraped before anything is measured: connections, pools, routes.
const warmUp = 500 * time.Millisecond

// measure puts the load on a system for a while.
func (b *bench) measure(s *system, p *payload, scrapers int) round {
	ways := s.ways(p)
	b.loadFor(warmUp, scrapers, ways, p)
	for _, process := range s.processes {
		process.ResetPeak()
	}
	profiled := b.startProfiles(s, p)
	cpu, redis, publishes, lookups, own := s.cpu(), b.redisCPU(s.redis), b.publishes(s), s.lookups(), s.efforts()
	r := round{figures: b.loadFor(b.length, scrapers, ways, p), own: make(map[string]effort)}
	n := float64(max(r.scrapes, 1))
	r.cpu = time.Duration(float64(s.cpu()-cpu) / n)
	r.redis = time.Duration(float64(b.redisCPU(s.redis)-redis) / n)
	r.publishes, r.lookups = (b.publishes(s)-publishes)/n, (s.lookups()-lookups)/n
	for name, after := range s.efforts() {
		before := own[name]
		r.own[name] = effort{time.Duration(float64(after.cpu-before.cpu) / n), (after.allocations - before.allocations) / n, (after.calls - before.calls) / n}
	}
	for _, process := range s.processes {
		r.memory += process.Memory("VmHWM")
	}
	profiled.Wait()
	return r
}

func (b *bench) loadFor(d time.Duration, scrapers int, ways []way, p *payload) *figures {
	return b.paceFor(d, scrapers, 0, ways, p)
}

// paceFor is as loadFor, with so many scrapes a second.
func (b *bench) paceFor(d time.Duration, scrapers int, rate float64, ways []way, p *payload) *figures {
	ctx, stop := context.WithTimeout(b.Ctx, d)
	defer stop()
	f := load(ctx, scrapers, rate, ways, p)
	if b.Ctx.Err() != nil {
		b.Fatal("interrupted")
	}
	return f
}

func (s *system) cpu() (sum time.Duration) {
	for _, p := range s.processes {
		sum += p.CPU()
	}
	return sum
}

// lookups is how often replicas have asked the directory.
func (s *system) lookups() (sum float64) {
	for _, o := range s.ours {
		sum += rig.Metric(o.metrics, "farscrape_relay_directory_lookups_total")
	}
	return sum
}

// An effort is what a process of ours has done: processor time it took, objects it
// allocated, reads and writes it asked the kernel for.
type effort struct {
	cpu                time.Duration
	allocations, calls float64
}

func (s *system) efforts() map[string]effort {
	all := make(map[string]effort)
	for _, o := range s.ours {
		if o.metrics != "" {
			all[o.Name] = effort{o.CPU(), rig.Metric(o.metrics, "go_memstats_mallocs_total"), float64(o.Calls())}
		}
	}
	return all
}

// startProfiles has each of our processes write a CPU profile of the time in
// which it is measured, and then one of all that it has allocated.
func (b *bench) startProfiles(s *system, p *payload) *sync.WaitGroup {
	var all sync.WaitGroup
	if b.profile == "" {
		return &all
	}
	b.Must(os.MkdirAll(b.profile, 0o755))
	for _, o := range s.ours {
		if o.profiles == "" {
			continue
		}
		all.Go(func() {
			name := filepath.Join(b.profile, o.Name+"-"+p.target())
			at := "http://" + o.profiles + "/debug/pprof/"
			fetchFile(fmt.Sprintf("%sprofile?seconds=%d", at, int(b.length.Seconds())), name+".cpu.pprof")
			fetchFile(at+"allocs", name+".allocs.pprof")
		})
	}
	return &all
}

func fetchFile(url, name string) {
	resp, err := http.Get(url)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	content, _ := io.ReadAll(resp.Body)
	_ = os.WriteFile(name, content, 0o644)
}

// A contest is what several systems made of the same load.
type contest struct {
	title   string
	systems []*system
	rounds  map[string][]round // by system
}

// hold runs all systems in turn, as many rounds as were asked for; each round
// begins with another, as what comes first fares a little differently.
func (b *bench) hold(title string, systems []*system, p *payload, scrapers int) *contest {
	c := &contest{title: title, systems: systems, rounds: make(map[string][]round)}
	for i := range b.rounds {
		for j := range systems {
			s := systems[(i+j)%len(systems)]
			b.answers(s, p)
			r := b.measure(s, p, scrapers)
			c.rounds[s.name] = append(c.rounds[s.name], r)
			b.say("%s: round %d of %d: %s: %.0f scrapes/s", title, i+1, b.rounds, s.name, r.perSecond())
		}
	}
	return c
}

// median is the middle one of what the rounds of a system have, and spread the
// distance of the outer ones as a share of it.
func (c *contest) median(name string, of func(*round) float64) (middle, spread float64) {
	var all []float64
	for _, r := range c.rounds[name] {
		all = append(all, of(&r))
	}
	return medianOf(all)
}

// ratio is the median of the rounds' own ratios: what two systems did within
// seconds of each other tells more than what they did in an hour.
func (c *contest) ratio(name, to string, of func(*round) float64) float64 {
	var all []float64
	for i, r := range c.rounds[name] {
		if base := of(&c.rounds[to][i]); base > 0 {
			all = append(all, of(&r)/base)
		}
	}
	middle, _ := medianOf(all)
	return middle
}

func medianOf(all []float64) (middle, spread float64) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	middle = all[len(all)/2]
	if middle > 0 {
		spread = (all[len(all)-1] - all[0]) / middle
	}
	return middle, spread
}

// publishes is how many messages Redis was given so far.
func (b *bench) publishes(s *system) float64 {
	if s.redis == "" {
		return 0
	}
	return redisCalls(b.redisInfo(s.redis, "commandstats"), "publish")
}
