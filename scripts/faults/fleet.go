package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	agents "github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/scripts/rig"
)

// A fleet is agents as they are, many of them in this process, each with a token in a
// file of its own and one target.
type fleet struct {
	stack   *stack
	configs []agents.Config
	end     context.CancelFunc
	running sync.WaitGroup
}

// fleetLinks is how many links each of them keeps.
const fleetLinks = 2

// fleetTarget is the one target that each of them has.
func fleetTarget() target { return target{name: "t", size: 500, every: 2 * time.Second} }

func fleetName(i int) string { return fmt.Sprintf("fleet-%d", i) }

// throughBalancerTo scrapes each of the fleet through the balancer.
func throughBalancerTo(s *stack) (jobs []job) {
	for i := range s.fleet.configs {
		jobs = append(jobs, job{agent: fleetName(i), target: fleetTarget(), via: s.balancer.addr})
	}
	return jobs
}

// startFleet starts n agents whose tokens have all but lived for two thirds of their
// time: they are due when their key changes, and had they been before, they would have
// others by then.
func (s *stack) startFleet(n int) {
	const life = 3 * time.Hour
	issued := time.Now().Add(time.Minute - life/3*2)
	s.fleet = &fleet{stack: s}
	for i := range n {
		name := fleetName(i)
		signed := s.mintBy(rig.Key, token.Claims{Role: token.Agent, Name: name, Expires: issued.Add(life), Renewable: true}, issued)
		file := filepath.Join(s.Dir, name+".token")
		s.Must(os.WriteFile(file, []byte(signed), 0o600))
		s.fleet.configs = append(s.fleet.configs, agents.Config{
			RelayURL: "http://" + s.balancer.addr, TokenFile: file, Links: fleetLinks,
			Targets: s.targets.urls(name, []target{fleetTarget()}),
		})
	}
	s.fleet.start()
	s.Cleanup(func() { s.fleet.stop() })
	s.Until(2*rig.Patience, "the fleet is linked", s.fleet.whole)
}

func (f *fleet) start() {
	ctx, end := context.WithCancel(f.stack.Ctx)
	f.end = end
	for _, c := range f.configs {
		a, err := agents.New(c, agents.Options{})
		f.stack.Must(err)
		f.running.Go(func() { _ = a.Run(ctx) })
	}
}

func (f *fleet) stop() {
	f.end()
	f.running.Wait()
}

// whole reports whether all links of the fleet are there.
func (f *fleet) whole() bool {
	links := 0
	for _, r := range f.stack.Replicas {
		links += r.Links()
	}
	return links == fleetLinks*len(f.configs)
}
