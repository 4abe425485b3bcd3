// Command attacks is the campaign behind scripts/attacks.sh: it sends real
// processes everything bad that we know of, one thing after the other, and tells
// what came back, and what those who have nothing to do with it noticed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/farscrape/farscrape/scripts/rig"
)

const usageText = `usage: scripts/attacks.sh [-keep] NAME...|all|short|list

Starts redis-server, two replicas, agents of two tenants and their scrapers on
this machine, carries out each attack by name, and prints a row an attack. The
exit status is 1 if something else was seen than is expected, a bystander lost a
scrape or waited too long, or a bound was passed.

  all    every attack
  short  one or two of each family, in some two minutes
  list   the attacks: side, name, what is sent, what is expected
  -keep  leaves the logs of all processes, and says where

Bystanders are an agent of the attacker's tenant and one of another, each linked
to one replica and scraped through both on connections that are kept, every
answer compared byte for byte, and the pages of both replicas. Columns: the fewest
scrapes that any one of them made during the attack, what failed of all of
theirs, their slowest 99th percentile before and during; the resident memory of
the largest replica before and at its peak, with the bound; goroutines of all
replicas before and after; the log lines that the attack cost, with the bound.

Clocks are not moved: nothing but the clock of the whole machine would do it to
a static binary.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command does what the arguments say, and returns the exit status.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("attacks", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usageText) }
	keep := flags.Bool("keep", false, "")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() == 1 && flags.Arg(0) == "list" {
		list(stdout)
		return 0
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		fmt.Fprintf(stderr, "attacks: %v\n\n%s", err, usageText)
		return 2
	}
	dir, err := os.MkdirTemp("", "farscrape-attacks-")
	if err != nil {
		fmt.Fprintln(stderr, "attacks:", err)
		return 1
	}
	if *keep {
		fmt.Fprintln(stderr, "attacks: the logs are in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := rig.Build(dir); err != nil {
		fmt.Fprintln(stderr, "attacks:", err)
		return 1
	}
	rows := campaign(ctx, chosen, dir, stderr)
	print(stdout, rows)
	if len(rows) < len(chosen) || slices.ContainsFunc(rows, func(r row) bool { return !r.ok() }) {
		return 1
	}
	return 0
}

// campaign carries out one attack after the other. Those that follow each other
// and need the same stack share it, unless one breaks it.
func campaign(ctx context.Context, chosen []attack, dir string, stderr io.Writer) []row {
	var rows []row
	var s *stack
	defer func() {
		if s != nil {
			s.Clear()
		}
	}()
	for i := range chosen {
		if ctx.Err() != nil {
			break
		}
		a := &chosen[i]
		if s != nil && (s.broken || s.plan != a.plan) {
			s.Clear()
			s = nil
		}
		if s == nil {
			s = newStack(ctx, dir, a)
		}
		r := s.try(a)
		fmt.Fprintf(stderr, "attacks: %d of %d: %s: %s after %.1f s\n", i+1, len(chosen), a.name, r.verdict(), r.took.Seconds())
		for _, m := range r.misses {
			fmt.Fprintf(stderr, "attacks:   %s\n", m)
		}
		s.broken = s.broken || a.breaks || !r.ok()
		rows = append(rows, r)
	}
	return rows
}

func list(w io.Writer) {
	for _, a := range attacks() {
		fmt.Fprintf(w, "%-10s %-34s %s → %s\n", a.side, a.name, a.sent, a.expected)
	}
}

// choose finds the attacks that are asked for.
func choose(names []string) (chosen []attack, err error) {
	all := attacks()
	if len(names) == 0 {
		return nil, fmt.Errorf("which attack?")
	}
	for _, name := range names {
		if name == "all" {
			chosen = append(chosen, all...)
			continue
		}
		of := []string{name}
		if name == "short" {
			of = short()
		}
		for _, one := range of {
			i := slices.IndexFunc(all, func(a attack) bool { return a.name == one })
			if i < 0 {
				return nil, fmt.Errorf("no attack is called %q", one)
			}
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}
