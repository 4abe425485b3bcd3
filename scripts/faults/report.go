package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A row is what a fault came to.
type row struct {
	rig.Finding
	fault         *fault
	tally         tally
	before, after usage
	peak          peak
	repeated      bool // missed, and tried once more
}

// print writes the table, and below it what the rows' figures are made of.
func print(w io.Writer, rows []row) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\ttried\tfailed\twrong\tlongest miss\tfirst\t99 %\tpeak MB relay/agent\tgoroutines relay agent\tdescriptors relay agent\t\tfigure")
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%d/%d\t%d→%d %d→%d\t%d→%d %d→%d\t%s\t%s\n",
			r.fault.name, r.tally.tried, r.tally.failed, r.tally.wrong,
			seconds(r.tally.longest), seconds(r.tally.first), seconds(r.tally.most),
			r.peak.relay>>20, r.peak.agent>>20,
			r.before.relayGoroutines, r.after.relayGoroutines, r.before.agentGoroutines, r.after.agentGoroutines,
			r.before.relayDescriptors, r.after.relayDescriptors, r.before.agentDescriptors, r.after.agentDescriptors,
			r.Verdict(), r.fault.figure)
	}
	_ = table.Flush()
	fmt.Fprintln(w)
	for i := range rows {
		rows[i].details(w)
	}
}

// details are a row's reasons, notes and misses, in a line each.
func (r *row) details(w io.Writer) {
	if r.tally.failed > 0 {
		fmt.Fprintf(w, "%s: failed: %s\n", r.fault.name, r.tally.why())
	}
	r.Print(w, r.fault.name)
}

func seconds(d time.Duration) string {
	if d <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
