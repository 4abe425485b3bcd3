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
	"slices"

	"github.com/farscrape/farscrape/scripts/rig"
)

const usageText = `usage: scripts/attacks.sh [-keep] [-again] NAME...|all|short|list

Starts redis-server, two replicas, agents of two tenants and their scrapers on
this machine, carries out each attack by name, and prints a row an attack. The
exit status is 1 if something else was seen than is expected, a bystander lost a
scrape or waited too long, or a bound was passed.

  all    every attack
  short  one or two of each family, in some two minutes
  list   the attacks: side, name, what is sent, what is expected
  -keep  leaves the logs of all processes, and says where
  -again an attack during which bystanders did but wait too long is tried once
         more, on a stack of its own: the machine may have been busy

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
	again := false
	program := rig.Program{Name: "attacks", Usage: usageText, Flags: func(flags *flag.FlagSet) {
		flags.BoolVar(&again, "again", false, "")
	}, Choose: func(names []string) (rig.Run, error) { return choose(names, &again) }}
	program.Main(os.Args[1:])
}

// choose finds what is asked for.
func choose(names []string, again *bool) (rig.Run, error) {
	if slices.Equal(names, []string{"list"}) {
		return list, nil
	}
	all := attacks()
	groups := map[string][]string{"short": short()}
	for _, a := range all {
		groups["all"] = append(groups["all"], a.name)
	}
	chosen, err := rig.Choose("attack", all, func(a attack) string { return a.name }, groups, names)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, dir string, stdout, stderr io.Writer) (status int, err error) {
		if err := rig.Build(".", dir); err != nil {
			return 0, err
		}
		rows := campaign(ctx, chosen, *again, dir, stderr)
		print(stdout, rows)
		if ctx.Err() != nil || slices.ContainsFunc(rows, func(r row) bool { return !r.OK() && !r.repeated }) {
			status = 1
		}
		return status, nil
	}, nil
}

func list(_ context.Context, _ string, stdout, _ io.Writer) (status int, err error) {
	for _, a := range attacks() {
		fmt.Fprintf(stdout, "%-10s %-34s %s → %s\n", a.side, a.name, a.sent, a.expected)
	}
	return 0, nil
}

// campaign carries out one attack after the other. Those that follow each other
// and need the same stack share it, unless one breaks it.
func campaign(ctx context.Context, chosen []attack, again bool, dir string, stderr io.Writer) []row {
	var rows []row
	var s *stack
	defer func() {
		if s != nil {
			s.Clear()
		}
	}()
	try := func(i int) *row {
		a := &chosen[i]
		if s != nil && (s.broken || s.plan != a.plan) {
			s.Clear()
			s = nil
		}
		if s == nil {
			s = newStack(ctx, dir, a)
		}
		r := s.try(a)
		fmt.Fprintf(stderr, "attacks: %d of %d: %s: %s after %.1f s\n", i+1, len(chosen), a.name, r.Verdict(), r.Took.Seconds())
		for _, m := range r.Misses {
			fmt.Fprintf(stderr, "attacks:   %s\n", m)
		}
		s.broken = s.broken || a.breaks || !r.OK()
		rows = append(rows, r)
		return &rows[len(rows)-1]
	}
	for i := range chosen {
		if ctx.Err() != nil {
			break
		}
		if r := try(i); again && r.late && len(r.Misses) == 1 {
			r.repeated = true
			try(i)
		}
	}
	return rows
}
