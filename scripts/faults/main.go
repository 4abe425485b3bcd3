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
	"path/filepath"
	"slices"
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
         revision of this repository, which is built: what the rolled ones
         start on, roll to this build and back. The file
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

// options are what the flags say.
type options struct {
	again  bool
	before string // the build before; empty: there is none
	short  bool   // faults are tried in short
}

func main() {
	var o options
	program := rig.Program{Name: "faults", Usage: usageText, Flags: func(flags *flag.FlagSet) {
		flags.BoolVar(&o.again, "again", false, "")
		flags.StringVar(&o.before, "before", "", "")
	}, Choose: func(names []string) (rig.Run, error) { return o.choose(names) }}
	program.Main(os.Args[1:])
}

// choose finds what is asked for; what needs the build before, only if it is there.
func (o *options) choose(names []string) (rig.Run, error) {
	if slices.Equal(names, []string{"list"}) {
		return list, nil
	}
	all := faults()
	groups := make(map[string][]string)
	for _, f := range all {
		if f.plan.before && o.before == "" {
			continue
		}
		groups["all"] = append(groups["all"], f.name)
		if f.short {
			groups["short"] = append(groups["short"], f.name)
		}
	}
	o.short = slices.Contains(names, "short")
	chosen, err := rig.Choose("fault", all, func(f fault) string { return f.name }, groups, names)
	if err != nil {
		return nil, err
	}
	for _, f := range chosen {
		if f.plan.before && o.before == "" {
			return nil, fmt.Errorf("%s needs -before", f.name)
		}
	}
	return func(ctx context.Context, dir string, stdout, stderr io.Writer) (status int, err error) {
		of, err := build(dir, o.before)
		if err != nil {
			return 0, err
		}
		rows := campaign(ctx, chosen, *o, dir, of, stderr)
		print(stdout, rows)
		if slices.ContainsFunc(rows, func(r row) bool { return !r.OK() && !r.repeated }) {
			status = 1
		}
		return status, nil
	}, nil
}

func list(_ context.Context, _ string, stdout, _ io.Writer) (status int, err error) {
	for _, f := range faults() {
		figure := f.figure
		if f.plan.before {
			figure += " (needs -before)"
		}
		fmt.Fprintf(stdout, "%-26s %s\n", f.name, figure)
	}
	return 0, nil
}

// build builds the commands into folders of dir, and the build before, if it is
// asked for, unless it is a folder itself.
func build(dir, before string) (builds, error) {
	of := builds{now: filepath.Join(dir, "now"), before: before}
	if err := os.Mkdir(of.now, 0o700); err != nil {
		return of, err
	}
	if err := rig.Build(".", of.now); err != nil || before == "" {
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
func campaign(ctx context.Context, chosen []fault, o options, dir string, of builds, stderr io.Writer) []row {
	var rows []row
	try := func(i int) *row {
		began := time.Now()
		r := chosen[i].try(ctx, dir, of, o.short)
		r.Took = time.Since(began)
		fmt.Fprintf(stderr, "faults: %d of %d: %s: %s after %.0f s\n", i+1, len(chosen), r.fault.name, r.Verdict(), r.Took.Seconds())
		for _, m := range r.Misses {
			fmt.Fprintf(stderr, "faults:   %s\n", m)
		}
		rows = append(rows, r)
		return &rows[len(rows)-1]
	}
	for i := range chosen {
		if ctx.Err() != nil {
			break
		}
		if r := try(i); o.again && !r.OK() && r.tally.wrong == 0 {
			r.repeated = true
			try(i)
		}
	}
	return rows
}

// faults are all of them, in the order in which they are tried.
func faults() []fault {
	return slices.Concat(replicaFaults(), certificateFaults(), rolledFaults(), agentFaults(), lineFaults(), redisFaults(), clusterFaults(), keyFaults(), crowdFaults(), revokedFaults(), joinFaults())
}
