package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// A row is what an attack came to.
type row struct {
	rig.Finding
	attack        *attack
	bound         bound
	seen          string
	calm, during  window
	before, after usage
	peak          int // bytes
	lines         int
	late          bool // bystanders waited too long
	repeated      bool // that was all, and it was tried once more
}

// print writes the table, and below it why rows failed.
func print(w io.Writer, rows []row) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "side\tattack\tsent\tseen\tscrapes\tfailed\tp99 ms\tMB (bound)\tgoroutines\tlines (bound)\t")
	failed := 0
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s→%s\t%d→%d (%d)\t%d→%d\t%d (%d)\t%s\n",
			r.attack.side, r.attack.name, r.attack.sent, r.seen, r.during.fewest, r.during.failed,
			plain(r.calm.slowest), plain(r.during.slowest), r.before.resident>>20, r.peak>>20, r.limit(),
			r.before.goroutines, r.after.goroutines, r.lines, r.bound.lines, r.Verdict())
		if !r.OK() && !r.repeated {
			failed++
		}
	}
	_ = table.Flush()
	fmt.Fprintln(w)
	for i := range rows {
		r := &rows[i]
		r.Print(w, r.attack.name)
	}
	fmt.Fprintf(w, "%d attacks, %d failed\n", len(rows), failed)
}

func plain(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }

func milliseconds(d time.Duration) string { return plain(d) + " ms" }
