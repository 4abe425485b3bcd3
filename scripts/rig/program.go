package rig

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// A Program is a campaign or the benchmark, as a command.
type Program struct {
	Name  string
	Usage string
	// Flags declares what there is besides -keep.
	Flags func(*flag.FlagSet)
	// Choose says what the arguments ask for; it fails if they are wrong.
	Choose func(args []string) (Run, error)
}

// A Run does what was asked for, with a folder for builds and logs, and returns the
// exit status; if it cannot, why.
type Run func(ctx context.Context, dir string, stdout, stderr io.Writer) (status int, err error)

// Main runs the program until it is done or told to stop, and exits.
func (p *Program) Main(args []string) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(p.command(ctx, args, os.Stdout, os.Stderr))
}

// command does what the arguments say, and returns the exit status.
func (p *Program) command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, p.Usage) }
	keep := flags.Bool("keep", false, "")
	p.Flags(flags)
	if err := flags.Parse(args); err != nil {
		return 2
	}
	run, err := p.Choose(flags.Args())
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n\n%s", p.Name, err, p.Usage)
		return 2
	}
	dir, err := os.MkdirTemp("", "farscrape-"+p.Name+"-")
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	if *keep {
		fmt.Fprintf(stderr, "%s: the logs are in %s\n", p.Name, dir)
	} else {
		defer os.RemoveAll(dir)
	}
	status, err := run(ctx, dir, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	return status
}

// Choose finds what is asked for among all of a kind, each by its name; one name may
// stand for several, as groups says.
func Choose[T any](kind string, all []T, name func(T) string, groups map[string][]string, asked []string) (chosen []T, err error) {
	if len(asked) == 0 {
		return nil, fmt.Errorf("which %s?", kind)
	}
	for _, one := range asked {
		names, ok := groups[one]
		if !ok {
			names = []string{one}
		}
		for _, n := range names {
			i := slices.IndexFunc(all, func(t T) bool { return name(t) == n })
			if i < 0 {
				return nil, fmt.Errorf("no %s is called %q", kind, n)
			}
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}
