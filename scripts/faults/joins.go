package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	agents "github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/scripts/rig"
)

// joinFaults have hosts join.
func joinFaults() []fault {
	return []fault{
		{name: "joins-and-kills", figure: "1,000 hosts, 50 uses: 50 tokens, by names of their own", short: true, inject: joinAtOnce, judge: func(*trial) {}},
	}
}

const (
	joinHosts = 1000
	joinNames = 200 // that they want, several hosts each
	joinUses  = 50
)

// joinAtOnce has hosts join at once by one token, through the balancer, while one replica
// after the other is killed; those that have got a token link.
func joinAtOnce(t *trial) {
	by := t.Mint("-join", "joins-*", "-uses", strconv.Itoa(joinUses))
	var hosts sync.WaitGroup
	var done atomic.Int64
	var mu sync.Mutex
	var joined []agents.Config
	refusals := make(map[string]int)
	ctx, stop := context.WithTimeout(t.Ctx, 2*time.Minute)
	defer stop()
	for i := range joinHosts {
		hosts.Go(func() {
			defer done.Add(1)
			c, err := agents.Join(ctx, agents.Config{
				RelayURL: "http://" + t.balancer.addr, Name: fmt.Sprint("joins-", i%joinNames), Links: 1,
				StateDir: filepath.Join(t.Dir, fmt.Sprint("joins-", i)),
			}, agents.Options{}, by)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				joined = append(joined, c)
				return
			}
			refusals[refusalOf(err)]++
		})
	}
	counted := func() float64 { return t.sum("farscrape_relay_joins_total", `result="joined"`) }
	t.Until(rig.Patience, "the first have joined", func() bool { return counted() > joinUses/10 })
	kills := 0
	for _, r := range t.Replicas {
		if kills < 2 || done.Load() < joinHosts {
			r.Kill()
			kills++
			t.again(r)
		}
	}
	hosts.Wait()
	names := make(map[string]bool)
	for _, c := range joined {
		names[c.Name] = true
	}
	t.Note("%d of %d hosts have joined by %d names after %s, with %d replicas killed meanwhile; of the others %v", len(joined), joinHosts, len(names), seconds(time.Since(t.began)), kills, refusals)
	if len(joined) != joinUses || len(names) != joinUses {
		t.Miss("%d tokens by %d names, not %d", len(joined), len(names), joinUses)
	}
	t.runJoined(joined)
	t.settle()
}

// refusalOf is what a refusal is for, in a few words.
func refusalOf(err error) string {
	for _, of := range []string{"used up", "another host has joined"} {
		if strings.Contains(err.Error(), of) {
			return of
		}
	}
	return err.Error()
}

// runJoined runs agents by the tokens that they have got, until they are linked.
func (t *trial) runJoined(configs []agents.Config) {
	ctx, end := context.WithCancel(t.Ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	before := t.links()
	for _, c := range configs {
		a, err := agents.New(c, agents.Options{})
		t.Must(err)
		running.Go(func() { _ = a.Run(ctx) })
	}
	if took, ok := t.Poll(time.Minute, func() bool { return t.links() >= before+len(configs) }); ok {
		t.Note("all of them linked after %s", seconds(took))
	} else {
		t.Miss("%d of them have linked", t.links()-before)
	}
}

// links is how many the replicas hold.
func (t *trial) links() (n int) {
	for _, r := range t.Replicas {
		n += r.Links()
	}
	return n
}
