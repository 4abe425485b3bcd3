// The farscrape-agent command runs an agent: beside the targets it dials out to
// a relay, which scrapes them through it. Its settings are environment
// variables; -help lists them.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/webconfig"
)

const intro = `farscrape-agent lets Prometheus scrape targets behind NAT and firewalls: it
dials out to a relay, and Prometheus scrapes them through that.

  FARSCRAPE_RELAY_URL=https://relay.example.com \
  FARSCRAPE_TOKEN_FILE=/etc/farscrape/token \
  FARSCRAPE_TARGETS=node=http://localhost:9100/metrics \
  farscrape-agent

  farscrape-agent join https://relay.example.com

joins first: it asks for a join token, or reads one from standard input, and gets
for it, once, a token of its own, which FARSCRAPE_STATE_DIR keeps. The other
variables are as above. Started again, with join or with FARSCRAPE_RELAY_URL, it needs
no join token. To join anew, remove the file called token there.

Flags: -help, -version, and -ready, which asks the agent on this machine, at its
FARSCRAPE_LISTEN, whether it is linked. All else is environment variables.
SIGHUP reads FARSCRAPE_TARGETS_FILE anew; SIGTERM and SIGINT end the agent once
its scrapes in flight are done.

An agent uses one processor at a time; GOMAXPROCS sets another number.`

func main() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1) // relay/decisions/cost-of-a-scrape.md
	}
	defer runtime.KeepAlive(settings.Ballast())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "farscrape-agent: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nfarscrape-agent: "))
		os.Exit(1)
	}
}

// run is the command: its error is what a person has to mend.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var config agent.Config
	flags := flag.NewFlagSet("farscrape-agent", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	version := flags.Bool("version", false, "")
	ready := flags.Bool("ready", false, "")
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp:
		settings.Usage(stdout, intro, &config)
		return nil
	case err != nil:
		return fmt.Errorf("%w: see -help", err)
	case flags.NArg() > 0 && flags.Arg(0) != "join":
		return notACommand(flags.Arg(0))
	case *version:
		fmt.Fprintln(stdout, "farscrape-agent", settings.Version())
		return nil
	}
	var join *joining
	if flags.NArg() > 0 {
		j, err := parseJoin(flags.Args()[1:])
		if err != nil {
			return err
		}
		join, environ = &j, j.environ(environ)
	}
	if err := settings.Load(&config, environ); err != nil {
		return err
	}
	if *ready {
		if config.Listen == "" {
			return errors.New("-ready asks the agent at FARSCRAPE_LISTEN, which is not set")
		}
		return settings.Ready(ctx, config.Listen, config.WebConfig != "")
	}
	config.StateDir = cmp.Or(config.StateDir, settings.StateDir(environ))
	log, err := settings.Logger(stderr, config.LogLevel, config.LogFormat)
	if err != nil {
		return err
	}
	defer settings.TakeHangups(log)()
	slog.SetLogLoggerLevel(slog.LevelDebug) // net/http says a line of each target that speaks unasked
	slog.SetDefault(log)                    // libraries log there
	settings.TellUnread(log, &config, environ)
	options := agent.Options{Logger: log, Proxy: http.ProxyFromEnvironment}
	switch {
	case config.WebConfig != "" && config.Listen == "":
		return errors.New("FARSCRAPE_WEB_CONFIG_FILE needs FARSCRAPE_LISTEN, of which it says what is spoken there")
	case config.WebConfig != "":
		if options.Web, err = webconfig.New(webconfig.Config{
			Setting: "FARSCRAPE_WEB_CONFIG_FILE", File: config.WebConfig, Operators: true, Logger: log,
			Subsystem: "agent", CertificateLabels: prometheus.Labels{"certificate": "listen"},
		}); err != nil {
			return err
		}
	}
	token := ""
	if join != nil {
		if token, err = join.joinToken(ctx, config, log, stdin, stderr); err != nil {
			return err
		}
	}
	if config, err = agent.Join(ctx, config, options, token); err != nil {
		return err
	}
	a, err := agent.New(config, options)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
