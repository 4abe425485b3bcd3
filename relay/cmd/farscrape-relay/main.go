// Command farscrape-relay runs one replica of the relay, mints the tokens of agents
// and scrapers, and takes them back.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/store"
)

const intro = `farscrape-relay lets Prometheus scrape targets behind NAT and firewalls.

Usage:
  farscrape-relay                                     run a replica
  farscrape-relay token -agent NAME [-ttl D]          print an agent's token; NAME may
                                                      be a pattern, or - to read names
                                                      from standard input
  farscrape-relay token -scraper NAME [-agents GLOB]  print a scraper's token
  farscrape-relay revoke -agent NAME | -scraper NAME | -token ID | -list
                                                      take tokens back, and see which
                                                      are; unrevoke gives them again
  farscrape-relay -ready                              is the replica on this machine
                                                      ready? For health checks
  farscrape-relay -version | -help

A replica is set up by its environment. With none of it set it runs for trying
things out: on 127.0.0.1:8080, with a key of its own and the embedded store.
SIGTERM and SIGINT drain and end it; SIGHUP reads the files that it watches anew.`

func main() {
	defer runtime.KeepAlive(settings.Ballast())
	// A platform's stop, and a person's: it drains. A second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := command(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "farscrape-relay: %v\n", err)
		os.Exit(1)
	}
}

// command does what the arguments say.
func command(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "token" {
		return mint(args[1:], environ, stdin, stdout, stderr)
	}
	if len(args) > 0 && (args[0] == "revoke" || args[0] == "unrevoke") {
		return revoke(ctx, args[0] == "unrevoke", args[1:], environ, stdout)
	}
	flags := flag.NewFlagSet("farscrape-relay", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	version := flags.Bool("version", false, "")
	ready := flags.Bool("ready", false, "")
	err := flags.Parse(args)
	switch {
	case err == flag.ErrHelp:
		settings.Usage(stdout, intro, new(config))
		fmt.Fprintf(stdout, "\nRedis URLs:\n\n%s\n", store.URLForms)
		return nil
	case err != nil:
		return fmt.Errorf("%w; see farscrape-relay -help", err)
	case flags.NArg() > 0:
		return fmt.Errorf("no command %q; see farscrape-relay -help", flags.Arg(0))
	case *version:
		fmt.Fprintln(stdout, "farscrape-relay", settings.Version())
		return nil
	case *ready:
		c, err := loadConfig(environ)
		if err != nil {
			return err
		}
		return settings.Ready(ctx, c.Listen, c.WebConfigFile != "")
	}
	return run(ctx, environ, stderr)
}
