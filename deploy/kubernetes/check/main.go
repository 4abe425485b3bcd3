// The check command looks at what Kustomize renders of deploy/kubernetes for
// what a schema cannot say, and runs it: a relay and agents on this machine with
// the environment that the manifests give them. check.sh calls it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

// settings are the command's flags.
type settings struct {
	relay, agent  string // the two commands
	rules, readme string
}

func main() {
	var s settings
	flag.StringVar(&s.relay, "relay", "", "the farscrape-relay command")
	flag.StringVar(&s.agent, "agent", "", "the farscrape-agent command")
	flag.StringVar(&s.rules, "rules", "", "Prometheus's rules, which a PrometheusRule must hold")
	flag.StringVar(&s.readme, "readme", "", "where a reader finds which secrets to make")
	flag.Parse()
	if err := s.run(flag.Arg(0), flag.Args()[min(1, flag.NArg()):]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (s settings) run(command string, args []string) error {
	switch {
	case command == "relations" && len(args) > 0:
		return s.relations(args)
	case command == "run" && len(args) == 3:
		return s.try(args[0], args[1], args[2])
	}
	return errors.New("usage: check [flags] relations FILE… | run RELAY.yaml SIDECAR.yaml NAMESPACE-AGENT.yaml")
}
