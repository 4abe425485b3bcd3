// Command bench is the benchmark behind scripts/bench.sh: it scrapes through
// Farscrape and through what people use in its place, in turn within one run on
// this machine, and prints what each took.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

const usageText = `usage: scripts/bench.sh [scrapes|all|idle|storm|discovery|churn|cluster|scale] [FLAGS]

Runs systems in turn within one run (A B C B C A …), since machines differ from
minute to minute, and prints the medians of all rounds. The processor time is
that of the system's own processes; targets and scrapers, which are in this
program, are not counted. Every body is compared with what the target sent.

  scrapes  scrapers in a closed loop, for each of -sizes (the default)
  all      the cases that the project holds itself to
  idle     -links links that do nothing: memory, goroutines and processor time
           of each on the relay, and what Redis does; with -systems
           local,own-tls,tls one after the other, and set beside the first
  storm    -links links are lost at once and come back: how fast, and how
           scrapes through other links fare meanwhile
  discovery
           /sd of 50,000 targets: cold, warm, fetched anew, and memory
  churn    50,000 targets, of which 1 % are replaced each minute, and one by one:
           bytes on the links and to Redis, /sd meanwhile, how late a change is
           seen elsewhere, memory and processor time
  cluster  scrapes over the bus of Clusters of 1, 3 and 6 masters, by plain and by
           sharded pub/sub, at a fixed rate: what each node has to do
  scale    -links links to -replicas replicas on one Redis: what they cost at
           rest, how they come back when all replicas are killed, what one
           replica knows of another's agents, and how soon

  -systems a,b   direct (no hop), nginx (two hops), nethttp (one hop of a Go
                 program that does nothing else: what its HTTP server and client
                 cost), local (agent linked here), bus (agent at another
                 replica, over Redis), tls (nginx before the agent's link),
                 own-tls (the relay ends that itself), and
                 the peers of scripts/bench/peers whose programs are on PATH;
                 default all that can be had but those two.
                 local@DIR, bus@DIR and tls@DIR run the programs in DIR: another
                 build, to be compared with this one. For churn: fleet, fleet@DIR
  -beside a,b    those systems whose rates and processor times the others' are
                 set against, round by round; default direct,nginx,frp
  -sizes a,b     of bodies before compression, default 20kB,500kB,5MB; cluster takes
                 the first
  -identity      send bodies as they are; else gzip
  -agents n      scraped in turn, default 1
  -scrapers n    at once, default 16
  -rounds n      default 3; for churn the targets replaced one by one, default 10
  -for d         how long a system is measured in a round, default 3s; for churn
                 1m, for cluster 10s
  -links n       for idle and storm, default 5000; for scale, default what
                 descriptors, ports and memory allow
  -replicas n    for scale and churn, default 3; for cluster, default 6
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
	rounds   int           // 0: the usual
	length   time.Duration // 0: the usual
	links    int           // 0: as many as fit
	replicas int           // 0: the usual
	profile  string
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 {
		switch args[0] {
		case crowdOfAgents:
			os.Exit(runAgents(args[1:]))
		case crowdOfLinks:
			os.Exit(runCrowd(args[1:]))
		case oneHop:
			os.Exit(runHop(args[1:]))
		}
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		args = append(args[1:], args[0]) // behind the flags
	}
	var o options
	program := rig.Program{Name: "bench", Usage: usageText, Flags: o.declare, Choose: o.choose}
	program.Main(args)
}

func (o *options) declare(flags *flag.FlagSet) {
	list := func(to *[]string, name string) {
		flags.Func(name, "", func(value string) error {
			if value != "" {
				*to = strings.Split(value, ",")
			}
			return nil
		})
	}
	o.sizes = []string{"20kB", "500kB", "5MB"}
	list(&o.systems, "systems")
	list(&o.beside, "beside")
	list(&o.sizes, "sizes")
	flags.BoolVar(&o.identity, "identity", false, "")
	flags.IntVar(&o.agents, "agents", 1, "")
	flags.IntVar(&o.scrapers, "scrapers", 16, "")
	flags.IntVar(&o.rounds, "rounds", 0, "")
	flags.DurationVar(&o.length, "for", 0, "")
	flags.IntVar(&o.links, "links", 0, "")
	flags.IntVar(&o.replicas, "replicas", 0, "")
	flags.StringVar(&o.profile, "profile", "", "")
}

// choose finds what is asked for.
func (o *options) choose(args []string) (rig.Run, error) {
	what := "scrapes"
	if len(args) > 0 {
		what = args[0]
	}
	measure := map[string]func(*bench) int{"scrapes": (*bench).scrapes, "all": (*bench).all, "idle": (*bench).idle, "storm": (*bench).storm, "discovery": (*bench).discovery, "churn": (*bench).churn, "cluster": (*bench).cluster, "scale": (*bench).scale}[what]
	o.beUsual(what)
	switch {
	case measure == nil || len(args) > 1:
		return nil, fmt.Errorf("what is %q?", what)
	case o.agents < 1 || o.scrapers < 1 || o.rounds < 1 || o.links < 0 || o.replicas < 1 || o.length <= 0:
		return nil, errors.New("numbers must be above 0")
	}
	if least := map[string]int{"scale": 2, "cluster": 2, "churn": 3}[what]; o.replicas < least {
		return nil, fmt.Errorf("%s looks from one replica at what others hold: %d replicas at least", what, least)
	}
	return func(ctx context.Context, dir string, stdout, stderr io.Writer) (status int, err error) {
		b := &bench{options: *o, out: stdout, progress: stderr,
			Stack: &rig.Stack{Rig: rig.New(ctx, dir), Build: dir, RelayEnv: []string{"FARSCRAPE_SD_GRACE=0s", "FARSCRAPE_LOG_LEVEL=warn"}}}
		defer b.Clear()
		err = rig.Try(func() { b.Must(rig.Build(".", dir)); status = measure(b) })
		return status, err
	}, nil
}

// beUsual fills in what no flag says.
func (o *options) beUsual(what string) {
	rounds, length, replicas := 3, 3*time.Second, 3
	switch what {
	case "churn":
		rounds, length = 10, time.Minute
	case "cluster":
		length, replicas = 10*time.Second, 6
	}
	o.rounds, o.length, o.replicas = cmp.Or(o.rounds, rounds), cmp.Or(o.length, length), cmp.Or(o.replicas, replicas)
}

// A bench is one run. Its stack is what the system is made of that is being started.
type bench struct {
	*rig.Stack
	options
	out      io.Writer // of tables
	progress io.Writer
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}
