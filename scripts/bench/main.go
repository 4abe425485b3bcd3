// Command bench is the benchmark behind scripts/bench.sh: it scrapes through
// Farscrape and through what people use in its place, in turn within one run on
// this machine, and prints what each took.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

const usageText = `usage: scripts/bench.sh [scrapes|all|idle|storm|discovery] [FLAGS]

Runs systems in turn within one run (A B C B C A …), since machines differ from
minute to minute, and prints the medians of all rounds. The processor time is
that of the system's own processes; targets and scrapers, which are in this
program, are not counted. Every body is compared with what the target sent.

  scrapes  scrapers in a closed loop, for each of -sizes (the default)
  all      the cases that the project holds itself to
  idle     -links links that do nothing: memory, goroutines and processor time
           of each on the relay, and what Redis does
  storm    -links links are lost at once and come back: how fast, and how
           scrapes through other links fare meanwhile
  discovery
           /sd of 50,000 targets: cold, warm, fetched anew, and memory

  -systems a,b   direct (no hop), nginx (two hops), nethttp (one hop of a Go
                 program that does nothing else: what its HTTP server and client
                 cost), local (agent linked here), bus (agent at another
                 replica, over Redis), tls (nginx before the agent's link), and
                 the peers of scripts/bench/peers whose programs are on PATH;
                 default all that can be had but tls.
                 local@DIR, bus@DIR and tls@DIR run the programs in DIR: another
                 build, to be compared with this one
  -beside a,b    those systems whose rates and processor times the others' are
                 set against, round by round; default direct,nginx,frp
  -sizes a,b     of bodies before compression, default 20kB,500kB,5MB
  -identity      send bodies as they are; else gzip
  -agents n      scraped in turn, default 1
  -scrapers n    at once, default 16
  -rounds n      default 3
  -for d         how long a system is measured in a round, default 3s
  -links n       for idle and storm, default 5000
  -profile dir   writes CPU and allocation profiles of our own processes there
  -keep          leaves the logs of all processes, and says where
`

// options are what the flags say.
type options struct {
	systems  []string // nil: all there are
	beside   []string // nil: the usual ones
	sizes    []string
	identity bool
	agents   int
	scrapers int
	rounds   int
	length   time.Duration
	links    int
	profile  string
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case crowdOfAgents:
			os.Exit(runAgents(os.Args[2:]))
		case oneHop:
			os.Exit(runHop(os.Args[2:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command does what the arguments say, and returns the exit status.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usageText) }
	systems := flags.String("systems", "", "")
	beside := flags.String("beside", "", "")
	sizes := flags.String("sizes", "20kB,500kB,5MB", "")
	flags.BoolVar(&o.identity, "identity", false, "")
	flags.IntVar(&o.agents, "agents", 1, "")
	flags.IntVar(&o.scrapers, "scrapers", 16, "")
	flags.IntVar(&o.rounds, "rounds", 3, "")
	flags.DurationVar(&o.length, "for", 3*time.Second, "")
	flags.IntVar(&o.links, "links", 5000, "")
	flags.StringVar(&o.profile, "profile", "", "")
	keep := flags.Bool("keep", false, "")
	what := "scrapes"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		what, args = args[0], args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	o.sizes = strings.Split(*sizes, ",")
	if *systems != "" {
		o.systems = strings.Split(*systems, ",")
	}
	if *beside != "" {
		o.beside = strings.Split(*beside, ",")
	}
	run, err := choose(what)
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("what is %q?", flags.Arg(0))
	case o.agents < 1 || o.scrapers < 1 || o.rounds < 1 || o.links < 1 || o.length <= 0:
		err = errors.New("numbers must be above 0")
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n\n%s", err, usageText)
		return 2
	}
	dir, err := os.MkdirTemp("", "farscrape-bench-")
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	if *keep {
		fmt.Fprintln(stderr, "bench: the logs are in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	b := &bench{Rig: rig.New(ctx, dir), options: o, binaries: dir, out: stdout, progress: stderr}
	defer b.Clear()
	defer func() {
		if p := recover(); p != nil {
			why, ok := p.(rig.Broken)
			if !ok {
				panic(p)
			}
			fmt.Fprintln(stderr, "bench:", why.Why)
			status = 1
		}
	}()
	b.Must(rig.Build(dir))
	return run(b)
}

func choose(what string) (func(*bench) int, error) {
	all := map[string]func(*bench) int{"scrapes": (*bench).scrapes, "all": (*bench).all, "idle": (*bench).idle, "storm": (*bench).storm, "discovery": (*bench).discovery}
	if run := all[what]; run != nil {
		return run, nil
	}
	return nil, fmt.Errorf("what is %q?", what)
}

// A bench is one run.
type bench struct {
	*rig.Rig
	options
	binaries string    // the folder of the programs that are being started
	out      io.Writer // of tables
	progress io.Writer
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}
