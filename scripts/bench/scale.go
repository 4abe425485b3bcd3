package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

const (
	// restFor is how long a fleet at rest is watched: two heartbeats of each link.
	restFor = 15 * time.Second
	// filledWithin and backWithin are when the bench gives up on links that do not
	// come, or come back.
	filledWithin = 10 * time.Minute
	backWithin   = 5 * time.Minute
	// seenWithin is when another replica's discovery should have followed a change:
	// it may answer with what is 0.9 s old. A busy machine takes longer, so the table
	// tells, and the run does not fail.
	seenWithin = time.Second
	// askedOnce is how many agents of another replica are looked up.
	askedOnce = 500
)

// scale measures what a fleet costs that nobody scrapes, how it comes back when all
// of its replicas are killed at once, and what one replica knows of another's agents.
func (b *bench) scale() int {
	g := b.gather(b.replicas, cmp.Or(b.links, math.MaxInt))
	b.Wait(5 * time.Second)
	empty := b.look(g)
	b.fillFleet(g)
	began := time.Now()
	b.Until(filledWithin, "the crowds are linked", g.whole)
	filled := time.Since(began)
	b.Wait(10 * time.Second) // the handshakes' garbage is collected
	before := b.look(g)
	b.Wait(restFor)
	after := b.look(g)
	fmt.Fprintf(b.out, "\n%d links to %d replicas, linked in %.1f s; at rest for %.0f s\n", g.n, len(g.replicas), filled.Seconds(), restFor.Seconds())
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	printRest(w, g, empty, before, after)
	_ = w.Flush()

	if !b.killAll(w, g) {
		_ = w.Flush()
		return 1
	}
	other := g.replicas[1] // looks at what the first one holds
	t := b.tenantOf(g.replicas[0])
	b.printListings(w, other, t)
	b.printLookups(w, other, t)
	b.printChanges(w, g, t)
	_ = w.Flush()
	return 0
}

// held is how many links the replicas have.
func (g *gathering) held() (n int) {
	for _, r := range g.replicas {
		n += r.Links()
	}
	return n
}

// whole reports whether they have all.
func (g *gathering) whole() bool { return g.held() == g.n }

// killAll kills all replicas and starts them again, and reports whether all links
// came back.
func (b *bench) killAll(w io.Writer, g *gathering) (whole bool) {
	began := time.Now()
	for _, r := range g.replicas {
		r.Signal(syscall.SIGKILL)
	}
	for _, r := range g.replicas {
		r.Kill() // waits
		r.Run()
	}
	_, whole = b.Poll(backWithin, g.whole)
	took, held := time.Since(began).Seconds(), g.held()
	fmt.Fprintf(w, "all replicas killed\t%d of %d links back after %.1f s: %.0f a second\n", held, g.n, took, float64(held)/took)
	return whole
}

// A seenTenant is one whose agents are linked to one replica, and how it is asked for.
type seenTenant struct {
	name   string
	agents int
	token  string // a scraper's
	holder *rig.Replica
}

// tenantOf is the first tenant of a replica's crowd.
func (b *bench) tenantOf(r *rig.Replica) *seenTenant {
	name := crowdTenant(r.Name, 0)
	t := &seenTenant{name: name, token: b.Mint("-scraper", "bench", "-tenant", name), holder: r}
	t.agents = b.list(r.Addr, "?target="+rig.CrowdTarget, t.token).targets
	return t
}

// printListings lists a tenant at a replica that has not done so before, and again.
func (b *bench) printListings(w io.Writer, r *rig.Replica, t *seenTenant) {
	cold := b.list(r.Addr, "", t.token)
	var warm []float64
	for range 9 {
		warm = append(warm, milliseconds(b.list(r.Addr, "", t.token).took))
	}
	if cold.targets != t.agents {
		b.Fatalf("one replica lists %d agents, another %d", t.agents, cold.targets)
	}
	fmt.Fprintf(w, "/sd of %d agents\t%.0f ms cold, %.1f ms warm, %.2f MB\n", t.agents, milliseconds(cold.took), middle(warm), float64(len(cold.body))/1e6)
}

// printLookups scrapes agents of another replica, each for the first time and again.
func (b *bench) printLookups(w io.Writer, r *rig.Replica, t *seenTenant) {
	n := min(askedOnce, t.agents)
	s := scraper{payload: &payload{body: crowdBody("")}, buffer: make([]byte, 1<<10), conns: make(map[string]*connection)}
	defer s.close()
	lookups := func() float64 { return rig.Metric(r.Ops, "farscrape_relay_directory_lookups_total") }
	for _, when := range []string{"first", "again"} {
		before := lookups()
		var f figures
		for i := range n {
			way, err := through("", r.URL("/scrape/"+rig.CrowdName(i)+"/"+rig.CrowdTarget), "Authorization: Bearer "+t.token+"\r\n")
			b.Must(err)
			f.note(s.scrape(way.addr, way.request(false)))
		}
		slices.Sort(f.took)
		fmt.Fprintf(w, "scrapes of another's, %s\tp50 %.2f ms, p99 %.2f ms, %.2f look-ups each, %d of %d failed %s\n", when,
			milliseconds(f.quantile(0.5)), milliseconds(f.quantile(0.99)), (lookups()-before)/float64(n), f.failed, n, f.why)
	}
}

// newcomer is the agent that comes and goes.
const newcomer = "newcomer"

// printChanges has an agent come, go and be forgotten, in each round, and tells how
// late any other replica's discovery saw it.
func (b *bench) printChanges(w io.Writer, g *gathering, t *seenTenant) {
	var came, went time.Duration // the longest
	for range b.rounds {
		a := b.StartAgent(newcomer, rig.AgentEnv(newcomer, t.holder.URL(""), b.Mint("-agent", newcomer, "-tenant", t.name),
			"FARSCRAPE_TARGETS="+newcomer+"=http://127.0.0.1:9/metrics", "FARSCRAPE_LINKS=1", "FARSCRAPE_LOG_LEVEL=warn"))
		b.Until(rig.Patience, "the newcomer is linked", func() bool { return a.Links() == 1 })
		came = max(came, b.followed(g, t, 1))
		a.Stop()
		b.Until(rig.Patience, "the newcomer is forgotten", func() bool { return b.forget(t, newcomer) })
		went = max(went, b.followed(g, t, 0))
	}
	for _, c := range []struct {
		what string
		took time.Duration
	}{{"a new agent", came}, {"a departed one's DELETE", went}} {
		verdict := ""
		if c.took > seenWithin {
			verdict = ": LATE"
		}
		fmt.Fprintf(w, "%s\tin /sd of each other replica after %.0f ms, the longest of %d%s\n", c.what, milliseconds(c.took), b.rounds, verdict)
	}
}

// followed waits until all other replicas list the newcomer, or do not.
func (b *bench) followed(g *gathering, t *seenTenant, targets int) time.Duration {
	began := time.Now()
	b.Until(rig.Patience, "discovery has followed the newcomer", func() bool {
		return !slices.ContainsFunc(g.replicas, func(r *rig.Replica) bool {
			return r != t.holder && b.list(r.Addr, "?target="+newcomer, t.token).targets != targets
		})
	})
	return time.Since(began)
}

// forget takes an agent off the list, which is refused while it is linked.
func (b *bench) forget(t *seenTenant, agent string) bool {
	req, err := http.NewRequestWithContext(b.Ctx, http.MethodDelete, t.holder.URL("/api/v1/agents/"+agent), nil)
	b.Must(err)
	req.Header.Set("Authorization", "Bearer "+t.token)
	resp, err := http.DefaultClient.Do(req)
	b.Must(err)
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusNoContent
}
