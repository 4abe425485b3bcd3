package main

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// printChurn prints what following targets took, a column a system.
func (b *bench) printChurn(all []*churnFigures) {
	fmt.Fprintf(b.out, "\n%d agents of %d targets, %d links each to %d replicas, another one asked for /sd every %v; for %v, %.0f %% of the targets replaced a minute\n",
		listedAgents, listedTargets, linksEach, b.replicas-1, discoverEvery, b.length, 100*churnShare)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	row := func(what string, of func(*churnFigures) string) {
		fmt.Fprint(w, what)
		for _, c := range all {
			fmt.Fprint(w, "\t", of(c))
		}
		fmt.Fprintln(w)
	}
	row("", func(c *churnFigures) string { return c.name })
	row("replaced", func(c *churnFigures) string {
		return fmt.Sprintf("%d targets by %d files", c.replaced, c.files)
	})
	for _, bytes := range []struct {
		what string
		of   func(spent) float64
	}{
		{"links, from agents", func(s spent) float64 { return s.up }}, {"links, to agents", func(s spent) float64 { return s.down }},
		{"to Redis", func(s spent) float64 { return s.in }}, {"from Redis", func(s spent) float64 { return s.out }},
	} {
		row(bytes.what, func(c *churnFigures) string { return c.bytes(bytes.of) })
	}
	row("Redis operations/s", func(c *churnFigures) string {
		rate := func(s spent) float64 { return s.operations / s.length.Seconds() }
		return fmt.Sprintf("%.0f at rest, %.0f", rate(c.rest), rate(c.busy))
	})
	row("/sd, ms", func(c *churnFigures) string {
		return fmt.Sprintf("%s, %d refused at rest; %s, %d refused",
			middleAndLongest(c.restSD.took), c.restSD.refused, middleAndLongest(c.busySD.took), c.busySD.refused)
	})
	row("a change elsewhere after, ms", func(c *churnFigures) string {
		return middleAndLongest(c.late)
	})
	for i, p := range all[0].processes {
		row(p.Name, func(c *churnFigures) string {
			share := func(s spent) float64 { return 100 * s.cpu[i].Seconds() / s.length.Seconds() }
			return fmt.Sprintf("%.1f %% of a core at rest, %.1f; %.0f MB, %.0f at its peak", share(c.rest), share(c.busy), float64(c.memory[i])/1e6, float64(c.peaks[i])/1e6)
		})
	}
	row("Redis's memory, MB", func(c *churnFigures) string {
		return fmt.Sprintf("%.2f, then %.2f", c.rest.stored/1e6, c.busy.stored/1e6)
	})
	row("keys", func(c *churnFigures) string {
		var kinds []string
		for _, k := range c.keys {
			kinds = append(kinds, fmt.Sprintf("%d %s %.1f kB", k.keys, k.name, float64(k.bytes)/1e3))
		}
		return strings.Join(kinds, ", ")
	})
	_ = w.Flush()
}

// bytes are those beyond what rest takes: in all, of a file and of a target.
func (c *churnFigures) bytes(of func(spent) float64) string {
	n := c.busy.beyond(c.rest, of)
	return fmt.Sprintf("%.2f MB beyond rest's %.1f kB/s: %.2f kB a file, %.2f kB a target",
		n/1e6, of(c.rest)/c.rest.length.Seconds()/1e3, n/float64(c.files)/1e3, n/float64(c.replaced)/1e3)
}

// middleAndLongest are of durations in ascending order, in ms.
func middleAndLongest(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("p50 %.0f, longest %.0f of %d", milliseconds(all[len(all)/2]), milliseconds(all[len(all)-1]), len(all))
}

// printSingles prints what one replaced target took.
func (b *bench) printSingles(all []*churnFigures) {
	fmt.Fprintf(b.out, "\none target of %d replaced, %d times, %v apart; bytes beyond rest's: mean (least to most)\n", listedTargets, b.rounds, oneEvery)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\ton a link\tto Redis\tfrom Redis\tlisted elsewhere")
	for _, c := range all {
		fmt.Fprint(w, c.name)
		for _, of := range []func(spent) float64{
			func(s spent) float64 { return s.up / linksEach }, func(s spent) float64 { return s.in }, func(s spent) float64 { return s.out },
		} {
			sum, least, most := 0.0, math.Inf(1), math.Inf(-1)
			for _, s := range c.singles {
				n := s.beyond(c.rest, of)
				sum, least, most = sum+n, min(least, n), max(most, n)
			}
			fmt.Fprintf(w, "\t%.0f (%.0f to %.0f)", sum/float64(len(c.singles)), least, most)
		}
		shown := 0
		for _, s := range c.singles {
			if s.shown {
				shown++
			}
		}
		fmt.Fprintf(w, "\t%d of %d within %v\n", shown, len(c.singles), oneEvery-time.Second)
	}
	_ = w.Flush()
}
