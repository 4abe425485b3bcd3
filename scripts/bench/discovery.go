package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// discovery measures what listing a large tenant takes at a replica that holds
// none of its links: the first time after its start, again at once, and again
// when the listing is fetched anew and has not changed.
func (b *bench) discovery() int {
	b.startRedis("redis")
	holder := b.startReplica("holder")
	for i := range listedAgents {
		b.startListedAgent(i, holder.URL(""), 1)
	}
	token := b.Mint("-scraper", "bench")
	b.Until(rig.Patience, "the agents are listed", func() bool {
		list := b.list(holder.Addr, "?target=farscrape", token)
		return list.targets == listedAgents
	})
	fmt.Fprintf(b.out, "\n%d agents with %d targets each, of five labels; medians of %d rounds\n", listedAgents, listedTargets, b.rounds)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tcold, ms\tits processor time, ms\twarm, ms\tfetched anew, ms\tits processor time, ms\tMB\trelay's peak, MB")
	want := map[string]int{"path": listedAgents * (listedTargets + 1), "proxy": listedAgents * listedTargets}
	for _, mode := range []string{"path", "proxy"} {
		var cold, warm, anew, first, effort, peak []float64
		size := 0
		for range b.rounds {
			r := b.startReplica("edge")
			list := func() float64 {
				l := b.list(r.Addr, "?mode="+mode, token)
				if l.targets != want[mode] {
					b.Fatalf("%s lists %d targets of %d", mode, l.targets, want[mode])
				}
				size = len(l.body)
				return milliseconds(l.took)
			}
			start := r.CPU()
			cold = append(cold, list())
			first = append(first, milliseconds(r.CPU()-start))
			for range 5 {
				warm = append(warm, list())
			}
			b.Wait(3 * time.Second)
			before := r.CPU()
			anew = append(anew, list())
			effort = append(effort, milliseconds(r.CPU()-before))
			peak = append(peak, float64(r.Memory("VmHWM"))/1e6)
			r.Stop()
		}
		fmt.Fprintf(w, "mode=%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\n", mode, middle(cold), middle(first), middle(warm), middle(anew), middle(effort), float64(size)/1e6, middle(peak))
	}
	_ = w.Flush()
	fmt.Fprintf(b.out, "the replica that holds the links: %.0f MB at its peak\n", float64(holder.Memory("VmHWM"))/1e6)
	return 0
}

func middle(all []float64) float64 {
	m, _ := medianOf(all)
	return m
}
