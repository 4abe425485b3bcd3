package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// keyConfig is what minting needs of the relay's environment.
type keyConfig struct {
	Key     string `env:"KEY" help:"the relay's keys; the first one signs"`
	KeyFile string `env:"KEY_FILE" help:"a file that holds KEY"`
}

const tokenIntro = `farscrape-relay token prints a token, and its ID to standard error.

Usage:
  farscrape-relay token -agent NAME [-addresses GLOB] [-tenant T] [-ttl D]
                        [-from NETWORKS] [-renew=false]
  farscrape-relay token -scraper NAME [-agents GLOB] [-tenant T] [-ttl D]
                        [-from NETWORKS]

  -agent NAME    for the agent of that name. A pattern, such as 'edge-*', is for
                 all that fit it, but never displaces a live agent. - reads names
                 from standard input and prints a name, in lower case, a tab and
                 a token a line; names that none can have are told, at the end
  -addresses GLOB
                 the addresses that its targets may declare for proxy mode, such as
                 '10.1.*:*'. They are this agent's, whoever declared them before.
                 By default any that nobody has declared yet
  -scraper NAME  for a Prometheus
  -agents GLOB   the agents that the scraper may scrape; by default all
  -tenant T      by default "default"
  -from NETWORKS the addresses that it may be shown from, such as 10.0.0.0/8,192.0.2.7;
                 elsewhere it is refused. By default any. Behind a load balancer the
                 relay needs FARSCRAPE_TRUSTED_PROXIES, or it sees the balancer's.
                 Replicas of an earlier version do not ask: update all before
  -ttl D         how long it holds; by default 8760h, a year; 0: for ever
  -renew=false   an agent's, for one name: the relay is not to give the agent another
                 in time. By default it does, over the agent's link, when two thirds
                 of its life are over or another key signs`

// mint is farscrape-relay token.
func mint(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	agent := flags.String("agent", "", "")
	scraper := flags.String("scraper", "", "")
	agents := flags.String("agents", "", "")
	addresses := flags.String("addresses", "", "")
	tenant := flags.String("tenant", wire.DefaultTenant, "")
	from := flags.String("from", "", "")
	ttl := flags.Duration("ttl", 8760*time.Hour, "")
	renew := flags.Bool("renew", true, "")
	err := flags.Parse(args)
	asked := false
	flags.Visit(func(f *flag.Flag) { asked = asked || f.Name == "renew" && *renew })
	switch {
	case errors.Is(err, flag.ErrHelp):
		settings.Usage(stdout, tokenIntro, new(keyConfig))
		return nil
	case err != nil:
		return fmt.Errorf("%w; see farscrape-relay token -help", err)
	case flags.NArg() > 0:
		return fmt.Errorf("what is %q? See farscrape-relay token -help", flags.Arg(0))
	case (*agent == "") == (*scraper == ""):
		return errors.New("say -agent NAME or -scraper NAME; see farscrape-relay token -help")
	case *agents != "" && *agent != "":
		return errors.New("-agents goes with -scraper")
	case *addresses != "" && *scraper != "":
		return errors.New("-addresses goes with -agent")
	case *ttl < 0:
		return errors.New("-ttl must not be negative; 0 never ends")
	}
	keys, err := mintingKeys(environ)
	if err != nil {
		return err
	}
	claims := token.Claims{Role: token.Agent, Name: *agent, Tenant: *tenant, Agents: *agents, Addresses: *addresses, From: *from, Renewable: *renew}
	if *scraper != "" {
		claims.Role, claims.Name = token.Scraper, *scraper
	}
	if !asked && (*scraper != "" || claims.IsGlob()) {
		claims.Renewable = false // which only a token for one agent can be
	}
	now := time.Now()
	if *ttl > 0 {
		claims.Expires = now.Add(*ttl)
	}
	if *agent == "-" {
		return mintMany(keys, claims, now, stdin, stdout, stderr)
	}
	t, minted, err := keys.Mint(claims, now)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, t)
	fmt.Fprintf(stderr, "token ID %s\n", minted.ID)
	return nil
}

func mintingKeys(environ []string) (*token.Keyring, error) {
	var c keyConfig
	if err := settings.Load(&c, environ); err != nil {
		return nil, err
	}
	keys, err := readKeys(c.Key, c.KeyFile)
	if keys == nil && err == nil {
		err = errors.New("FARSCRAPE_KEY_FILE (or FARSCRAPE_KEY) must be set to the relay's key")
	}
	return keys, err
}

// mintMany mints a token for every name that it reads. A name that none can be
// made out to is told with its line, in the error, and keeps no other from its
// token.
func mintMany(keys *token.Keyring, claims token.Claims, now time.Time, stdin io.Reader, stdout, stderr io.Writer) error {
	var bad []error
	lines := bufio.NewScanner(stdin)
	for n := 1; lines.Scan(); n++ {
		if claims.Name = strings.TrimSpace(lines.Text()); claims.Name == "" {
			continue
		}
		t, minted, err := keys.Mint(claims, now)
		if err != nil {
			bad = append(bad, fmt.Errorf("line %d has no token: %w", n, err))
			continue
		}
		fmt.Fprintf(stdout, "%s\t%s\n", minted.Name, t)
		fmt.Fprintf(stderr, "token ID %s\t%s\n", minted.ID, minted.Name)
	}
	return errors.Join(append(bad, lines.Err())...)
}
