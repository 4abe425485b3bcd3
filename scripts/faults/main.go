// Command faults is the campaign behind scripts/faults.sh: it runs a relay as
// somebody runs it, breaks one thing after the other under a steady load, and
// tells what each cost.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

const usageText = `usage: scripts/faults.sh [-keep] [-again] [-before BUILD] NAME...|all|short|list

Starts redis-server, three replicas, HAProxy, agents and a steady scraper on
this machine, injects each fault by name, and prints a row a fault. The exit
status is 1 if a figure was missed or an answer was wrong.

  all    every fault, in its full length; the rolled ones with -before only
  short  those that show the most within a few minutes, in short; with -before one
         that rolls to this build and back
  list   the faults and what each may cost
  -keep  leaves the logs of all processes, and says where
  -again a fault that missed its figure without a wrong answer is tried once
         more, and only that counts: a machine that is busy with other things
         misses, too. Both rows are printed
  -before a folder with another build of farscrape-relay and farscrape-agent, or a
         revision of this repository, which is built: what rolled-relays-first
         and rolled-agents-first start on, roll to this build and back. The file
         scripts/faults/before names the landing before this one, so
         scripts/faults.sh -before "$(cat scripts/faults/before)" rolled-relays-first

Columns: failed scrapes, those of large answers apart; the longest run of misses
of one target; from the end of the fault, the time to the first success of a
target that had missed, and to where 99 % of scrapes succeed again; the most
memory of any one replica and agent; goroutines and descriptors of all replicas
and of all agents, before and after.

Clocks are not skewed: nothing but the clock of the whole machine would do it to
a static binary.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command does what the arguments say, and returns the exit status.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usageText) }
	keep := flags.Bool("keep", false, "")
	again := flags.Bool("again", false, "")
	before := flags.String("before", "", "")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() == 1 && flags.Arg(0) == "list" {
		list(stdout)
		return 0
	}
	chosen, short, err := choose(flags.Args(), *before != "")
	if err != nil {
		fmt.Fprintf(stderr, "faults: %v\n\n%s", err, usageText)
		return 2
	}
	dir, err := os.MkdirTemp("", "farscrape-faults-")
	if err != nil {
		fmt.Fprintln(stderr, "faults:", err)
		return 1
	}
	if *keep {
		fmt.Fprintln(stderr, "faults: the logs are in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	of, err := build(dir, *before)
	if err != nil {
		fmt.Fprintln(stderr, "faults:", err)
		return 1
	}
	rows := campaign(ctx, chosen, short, *again, dir, of, stderr)
	print(stdout, rows)
	if slices.ContainsFunc(rows, func(r row) bool { return !r.ok() && !r.repeated }) {
		return 1
	}
	return 0
}

// build builds the commands into folders of dir, and the build before, if it is
// asked for, unless it is a folder itself.
func build(dir, before string) (builds, error) {
	of := builds{now: filepath.Join(dir, "now"), before: before}
	if err := os.Mkdir(of.now, 0o700); err != nil {
		return of, err
	}
	if err := rig.Build(of.now); err != nil || before == "" {
		return of, err
	}
	if info, err := os.Stat(before); err == nil && info.IsDir() {
		of.before, err = filepath.Abs(before)
		return of, err
	}
	of.before = filepath.Join(dir, "before")
	if err := os.Mkdir(of.before, 0o700); err != nil {
		return of, err
	}
	return of, rig.BuildRevision(before, of.before)
}

// campaign tries one fault after the other.
func campaign(ctx context.Context, chosen []fault, short, again bool, dir string, of builds, stderr io.Writer) []row {
	var rows []row
	try := func(i int) *row {
		began := time.Now()
		r := chosen[i].try(ctx, dir, of, short)
		r.took = time.Since(began)
		fmt.Fprintf(stderr, "faults: %d of %d: %s: %s after %.0f s\n", i+1, len(chosen), r.fault.name, r.verdict(), r.took.Seconds())
		for _, m := range r.misses {
			fmt.Fprintf(stderr, "faults:   %s\n", m)
		}
		rows = append(rows, r)
		return &rows[len(rows)-1]
	}
	for i := range chosen {
		if ctx.Err() != nil {
			break
		}
		if r := try(i); again && !r.ok() && r.tally.wrong == 0 {
			r.repeated = true
			try(i)
		}
	}
	return rows
}

func list(w io.Writer) {
	for _, f := range faults() {
		figure := f.figure
		if f.plan.before {
			figure += " (needs -before)"
		}
		fmt.Fprintf(w, "%-26s %s\n", f.name, figure)
	}
}

// choose finds the faults that are asked for: those that need the build before
// only if it is there.
func choose(names []string, before bool) (chosen []fault, short bool, err error) {
	all := faults()
	if len(names) == 0 {
		return nil, false, fmt.Errorf("which fault?")
	}
	for _, name := range names {
		switch i := slices.IndexFunc(all, func(f fault) bool { return f.name == name }); {
		case name == "all":
			for _, f := range all {
				if before || !f.plan.before {
					chosen = append(chosen, f)
				}
			}
		case name == "short":
			short = true
			for _, f := range all {
				if f.short && (before || !f.plan.before) {
					chosen = append(chosen, f)
				}
			}
		case i < 0:
			return nil, false, fmt.Errorf("no fault is called %q", name)
		case all[i].plan.before && !before:
			return nil, false, fmt.Errorf("%s needs -before", name)
		default:
			chosen = append(chosen, all[i])
		}
	}
	return chosen, short, nil
}

// faults are all of them, in the order in which they are tried.
func faults() []fault {
	return slices.Concat(replicaFaults(), rolledFaults(), agentFaults(), lineFaults(), redisFaults(), crowdFaults())
}
