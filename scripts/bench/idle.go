package main

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/relay/certtest"
	"github.com/farscrape/farscrape/scripts/rig"
)

// idleFor is how long idle links are watched: several heartbeats and renewals.
const idleFor = 30 * time.Second

// idle measures what links cost that do nothing, one system after the other, and sets
// them beside the first.
func (b *bench) idle() int {
	systems := b.systems
	if systems == nil {
		systems = []string{"local"}
	}
	sum := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(sum, "of a link, kB\tin use\tresident\tmore than "+systems[0]+"\tresident\tnginx, resident\tprocessor of all\tnginx")
	var first rest
	for i, name := range systems {
		r := b.restOf(name)
		if i == 0 {
			first = r
		}
		fmt.Fprintf(sum, "%s\t%.1f\t%.1f\t%+.1f\t%+.1f\t%.1f\t%.2f %%\t%.2f %%\n", name,
			r.inUse/1e3, r.resident/1e3, (r.inUse-first.inUse)/1e3, (r.resident-first.resident)/1e3, r.front/1e3, r.cpu, r.frontCPU)
	}
	if len(systems) > 1 {
		fmt.Fprintln(b.out)
		_ = sum.Flush()
	}
	return 0
}

// restOf measures one of them, with a replica and a Redis of its own. The replica
// runs for a while without any links first, so that what it needs anyhow is not laid to
// them.
func (b *bench) restOf(name string) rest {
	own := *b
	own.Stack = &rig.Stack{Rig: rig.New(b.Ctx, b.TempDir()), Build: b.Build, RelayEnv: b.RelayEnv}
	defer own.Clear()
	b = &own
	g, addr, conf := b.gatherBy(name, cmp.Or(b.links, idleLinks))
	b.Wait(5 * time.Second)
	empty := b.look(g)
	crowd := b.StartCrowd(g.n, addr, conf, b.crowdTokens("crowd", g.n), crowdBody)
	b.Until(2*time.Minute, "the crowd is linked", crowd.Whole)
	b.Wait(15 * time.Second) // the handshakes' garbage is collected
	before := b.look(g)
	b.Wait(idleFor)
	after := b.look(g)
	if b.profile != "" {
		b.Must(os.MkdirAll(b.profile, 0o755))
		fetchFile("http://"+g.replicas[0].Ops+"/debug/pprof/heap?gc=1", filepath.Join(b.profile, "idle-"+name+".heap.pprof"))
	}
	fmt.Fprintf(b.out, "\n%s: %d idle links to one replica, for %.0f s\n", name, g.n, after.from.at.Sub(before.until.at).Seconds())
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	printRest(w, g, empty, before, after)
	_ = w.Flush()
	return g.rest(empty, before, after)
}

// gatherBy starts a replica for links, and says where they come in and by what TLS; nil:
// by none.
func (b *bench) gatherBy(name string, links int) (g *gathering, addr string, conf *tls.Config) {
	if name == "local" {
		g = b.gather(1, links)
		return g, g.replicas[0].Addr, nil
	}
	dir := b.TempDir()
	pair := certtest.New(b, "relay", time.Now().Add(24*time.Hour))
	pair.Write(b, dir)
	conf = certtest.Client(b, nil, pair)
	switch name {
	case "own-tls":
		g = b.gather(1, links, b.endTLS(dir))
		return g, g.replicas[0].Addr, conf
	case "tls":
		g = b.gather(1, links)
		addr = rig.FreePort()
		g.front = b.startTLSHop("front", g.replicas[0].Addr, addr, dir)
		return g, addr, conf
	}
	b.Fatalf("idle links come by local, own-tls or tls: none by %q", name)
	return nil, "", nil
}

// A rest is what links at rest cost.
type rest struct {
	inUse, heap, stacks, resident float64 // bytes of a link
	front                         float64 // of a link, resident, bytes; of what they come through
	cpu, frontCPU                 float64 // percent of a core, of all links
}

func (g *gathering) rest(empty, before, after state) rest {
	began, ended := before.until, after.from
	seconds, links := ended.at.Sub(began.at).Seconds(), float64(g.n)
	r := rest{heap: (after.heap - empty.heap) / links, stacks: (after.stacks - empty.stacks) / links,
		resident: float64(after.memory-empty.memory) / links, front: float64(after.front-empty.front) / links,
		cpu: 100 * (ended.cpu - began.cpu).Seconds() / seconds, frontCPU: 100 * (ended.frontCPU - began.frontCPU).Seconds() / seconds}
	r.inUse = r.heap + r.stacks
	return r
}

// printRest prints what links at rest cost: memory by how it was without any, the
// rest between two looks.
func printRest(w io.Writer, g *gathering, empty, before, after state) {
	began, ended := before.until, after.from
	seconds := ended.at.Sub(began.at).Seconds()
	perLink := func(x float64) float64 { return x / float64(g.n) }
	r := g.rest(empty, before, after)
	fmt.Fprintf(w, "memory of a link\t%.1f kB in use: %.1f of heap, %.1f of stacks; %.1f kB resident, with garbage\n",
		r.inUse/1e3, r.heap/1e3, r.stacks/1e3, r.resident/1e3)
	fmt.Fprintf(w, "goroutines of a link\t%.2f\n", perLink(after.goroutines-empty.goroutines))
	fmt.Fprintf(w, "processor\t%.2f %% of a core for all links, heartbeats and leases\n", r.cpu)
	fmt.Fprintf(w, "Redis\t%.1f operations/s, %.3f of a link; %.2f %% of a core\n", (ended.commands-began.commands)/seconds, perLink((ended.commands-began.commands)/seconds), 100*(ended.redisCPU-began.redisCPU).Seconds()/seconds)
	fmt.Fprintf(w, "Redis's memory\t%.2f kB of an agent of one link and one target\n", perLink(after.stored-empty.stored)/1e3)
}
