package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// A row is what an attack came to.
type row struct {
	attack        *attack
	bound         bound
	seen          string
	calm, during  window
	before, after usage
	peak          int // bytes
	lines         int
	misses, notes []string
	took          time.Duration
}

func (r *row) ok() bool { return len(r.misses) == 0 }

func (r *row) miss(format string, args ...any) {
	r.misses = append(r.misses, fmt.Sprintf(format, args...))
}

func (r *row) verdict() string {
	if r.ok() {
		return "ok"
	}
	return "FAIL"
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
			r.before.goroutines, r.after.goroutines, r.lines, r.bound.lines, r.verdict())
		if !r.ok() {
			failed++
		}
	}
	_ = table.Flush()
	fmt.Fprintln(w)
	for i := range rows {
		r := &rows[i]
		if len(r.notes) > 0 {
			fmt.Fprintf(w, "%s: %s\n", r.attack.name, strings.Join(r.notes, "; "))
		}
		for _, m := range r.misses {
			fmt.Fprintf(w, "%s: FAIL: %s\n", r.attack.name, m)
		}
	}
	fmt.Fprintf(w, "%d attacks, %d failed\n", len(rows), failed)
}

func plain(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }

func milliseconds(d time.Duration) string { return plain(d) + " ms" }
