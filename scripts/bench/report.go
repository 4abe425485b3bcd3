package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// print prints a contest: the medians of the rounds, and the ratios of the rates
// and of the processor times to those of each of beside.
func (c *contest) print(out io.Writer, size int, beside []string) {
	fmt.Fprintf(out, "\n%s (%d bytes on the wire), medians of %d rounds\n", c.title, size, len(c.rounds[c.systems[0].name]))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "system\tscrapes/s\tspread\tMB/s\tp50 ms\tp99 ms\tCPU ms\tpeak MB\tfailed")
	for _, name := range beside {
		fmt.Fprintf(w, "\tof %s: rate\tCPU", name)
	}
	fmt.Fprintln(w, "\tper scrape")
	rate := func(r *round) float64 { return r.perSecond() }
	cpu := func(r *round) float64 { return milliseconds(r.cpu) }
	for _, s := range c.systems {
		perSecond, spread := c.median(s.name, rate)
		spent, _ := c.median(s.name, cpu)
		middle, _ := c.median(s.name, func(r *round) float64 { return milliseconds(r.quantile(0.5)) })
		late, _ := c.median(s.name, func(r *round) float64 { return milliseconds(r.quantile(0.99)) })
		memory, _ := c.median(s.name, func(r *round) float64 { return float64(r.memory) / 1e6 })
		failed, why := c.failures(s.name)
		fmt.Fprintf(w, "%s\t%.0f\t%.0f%%\t%.0f\t%.2f\t%.2f\t%.3f\t%.0f\t%d%s", s.name, perSecond, 100*spread,
			perSecond*float64(size)/1e6, middle, late, spent, memory, failed, why)
		for _, name := range beside {
			fmt.Fprintf(w, "\t%.2f\t%.2f", c.ratio(s.name, name, rate), c.ratio(s.name, name, cpu))
		}
		fmt.Fprintf(w, "\t%s\n", c.perScrape(s))
	}
	_ = w.Flush()
}

// perScrape is what else a scrape costs us, and Redis.
func (c *contest) perScrape(s *system) string {
	var all []string
	for _, o := range s.ours {
		if o.metrics != "" {
			spent, _ := c.median(s.name, func(r *round) float64 { return milliseconds(r.own[o.Name].cpu) })
			allocations, _ := c.median(s.name, func(r *round) float64 { return r.own[o.Name].allocations })
			calls, _ := c.median(s.name, func(r *round) float64 { return r.own[o.Name].calls })
			all = append(all, fmt.Sprintf("%s %.3f ms %.0f allocations %.1f reads and writes", o.Name, spent, allocations, calls))
		}
	}
	if s.redis != "" {
		publishes, _ := c.median(s.name, func(r *round) float64 { return r.publishes })
		lookups, _ := c.median(s.name, func(r *round) float64 { return r.lookups })
		effort, _ := c.median(s.name, func(r *round) float64 { return milliseconds(r.redis) })
		all = append(all, fmt.Sprintf("Redis %.3f ms %.2f PUBLISH", effort, publishes), fmt.Sprintf("%.4f look-ups", lookups))
	}
	return strings.Join(all, ", ")
}

func (c *contest) failures(name string) (n int, why string) {
	for _, r := range c.rounds[name] {
		n += r.failed
		if r.why != "" {
			why = " (" + r.why + ")"
		}
	}
	return n, why
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }
