package main

import (
	"cmp"
	"fmt"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A gathering is replicas on a Redis with a crowd of links, dealt out evenly.
type gathering struct {
	replicas []*rig.Replica
	redis    string
	front    *rig.Process // what the links come through; nil: nothing
	n        int
}

// state is how the replicas and their Redis are.
type state struct {
	memory      int     // resident, bytes
	front       int     // of the front, the same
	heap        float64 // in use after a collection, bytes
	stacks      float64 // the same
	goroutines  float64
	stored      float64 // in Redis's memory, bytes
	from, until toll    // when the look began and ended: it has garbage collected, which is not the links'
}

// A toll is what the replicas and their Redis have used so far.
type toll struct {
	at       time.Time
	cpu      time.Duration // of the replicas
	frontCPU time.Duration
	redisCPU time.Duration
	commands float64
}

func (b *bench) look(g *gathering) state {
	s := state{from: b.tollOf(g), stored: infoNumber(b.redisInfo(g.redis, "memory"), "used_memory")}
	for _, r := range g.replicas {
		s.memory += r.Memory("VmRSS")
		r.CollectGarbage()
		s.goroutines += rig.Metric(r.Ops, "go_goroutines")
		s.heap += rig.Metric(r.Ops, "go_memstats_heap_inuse_bytes")
		s.stacks += rig.Metric(r.Ops, "go_memstats_stack_inuse_bytes")
	}
	if g.front != nil {
		s.front = g.front.Memory("VmRSS")
	}
	s.until = b.tollOf(g)
	return s
}

func (b *bench) tollOf(g *gathering) toll {
	s := toll{at: time.Now(), redisCPU: b.redisCPU(g.redis), commands: infoNumber(b.redisInfo(g.redis, "stats"), "total_commands_processed")}
	for _, r := range g.replicas {
		s.cpu += r.CPU()
	}
	if g.front != nil {
		s.frontCPU = g.front.CPU()
	}
	return s
}

// gather starts replicas with room for so many links, and their Redis.
func (b *bench) gather(replicas, links int, env ...string) *gathering {
	addr, _ := b.startRedis("redis")
	g := &gathering{redis: addr, replicas: make([]*rig.Replica, replicas), n: b.afford(replicas, links)}
	for i := range g.replicas {
		g.replicas[i] = b.startReplica(fmt.Sprintf("relay-%d", i), append(env, placesFor(g.share(i)))...)
	}
	return g
}

// share is how many of the links are replica i's.
func (g *gathering) share(i int) int { return (g.n + i) / len(g.replicas) }

// idleLinks is how many links idle and storm have unless -links says it.
const idleLinks = 5000

// storm cuts all links at once, and measures how they come back and how the
// scrapes of another agent fare meanwhile.
func (b *bench) storm() int {
	p, err := newPayload("20kB", true)
	b.Must(err)
	g := b.gather(1, cmp.Or(b.links, idleLinks))
	far := g.replicas[0]
	target := b.startTarget([]*payload{p})
	// The links that are lost go through an nginx, which is stopped; the agent
	// that is scraped has its own way.
	front := rig.FreePort()
	hop := b.startHop("front", far.Addr, front, "")
	near := b.startReplica("near")
	b.startAgents("storm", 1, near.URL(""), target)
	b.linked(near, 1)
	s := &system{name: "storm", ways: b.toAgents(far, 1)}
	b.answers(s, p)
	calm := b.loadFor(5*time.Second, 1, s.ways(p), p)
	crowd := b.StartCrowd(g.n, front, nil, b.crowdTokens("crowd", g.n), crowdBody)
	b.Until(2*time.Minute, "the crowd is linked", crowd.Whole)
	b.Wait(10 * time.Second) // links must have been stable
	dials, putOff := crowd.Dials.Load(), crowd.PutOff.Load()
	hop.Stop()
	hop.Run()
	began := time.Now()
	b.Until(10*time.Second, "the links are lost", func() bool { return crowd.Linked.Load() < int64(g.n) })
	back := make(chan time.Duration, 1)
	go func() {
		for !crowd.Whole() && b.Ctx.Err() == nil && time.Since(began) < 2*time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		back <- time.Since(began)
	}()
	stormy := b.loadFor(15*time.Second, 1, s.ways(p), p)
	took := <-back
	fmt.Fprintf(b.out, "\n%d links lost at once, on %d processors with everything else\n", g.n, runtime.NumCPU())
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "all back\tafter %.2f s: %.0f handshakes/s, of %d dials %d were put off\n", took.Seconds(), float64(g.n)/took.Seconds(),
		crowd.Dials.Load()-dials, crowd.PutOff.Load()-putOff)
	for _, f := range []struct {
		when string
		*figures
	}{{"before", calm}, {"meanwhile", stormy}} {
		fmt.Fprintf(w, "scrapes %s\tp50 %.2f ms, p99 %.2f ms, %d of %d failed %s\n", f.when,
			milliseconds(f.quantile(0.5)), milliseconds(f.quantile(0.99)), f.failed, f.failed+f.scrapes, f.why)
	}
	_ = w.Flush()
	if stormy.failed > 0 {
		return 1
	}
	return 0
}
