package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof" // an agent itself serves none
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/farscrape/farscrape/agent"
	"github.com/farscrape/farscrape/relay/settings"
)

// crowdOfAgents is the argument with which this program runs itself to be many
// agents in one process: a process each would not fit the machine.
const crowdOfAgents = "crowd-of-agents"

// runAgents runs as many agents as the first argument says, with the
// environment's settings and names of their own, until it is told to stop. The
// second is where it serves profiles.
func runAgents(args []string) int {
	defer runtime.KeepAlive(settings.Ballast()) // as the agent does
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := manyAgents(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func manyAgents(ctx context.Context, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	profiles, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	var all errgroup.Group
	all.Go(func() error { return http.Serve(profiles, nil) })
	for i := range n {
		var config agent.Config
		if err := settings.Load(&config, os.Environ()); err != nil {
			return err
		}
		config.Name = agentName(i)
		a, err := agent.New(config, agent.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		if err != nil {
			return err
		}
		all.Go(func() error { return a.Run(ctx) })
	}
	go func() { <-ctx.Done(); _ = profiles.Close() }()
	_ = all.Wait()
	return nil
}
