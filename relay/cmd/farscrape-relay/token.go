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
  farscrape-relay token -join NAME [-uses N] [-labels site=berlin] [-ttl D]
                        [-addresses GLOB] [-tenant T] [-from NETWORKS]

  -agent NAME    for the agent of that name. A pattern, such as 'edge-*', is for
                 all that fit it, but never displaces a live agent. - reads names
                 from standard input and prints a name, in lower case, a tab and
                 a token a line; names that none can have are told, at the end
  -addresses GLOB
                 the addresses that its targets may declare for proxy mode, such as
                 '10.1.*:*'. They are this agent's, whoever declared them before.
                 By default any that nobody has declared yet
  -join NAME     for hosts that become agents of that name, or of names that fit a
                 pattern such as 'edge-*': farscrape-agent join URL redeems it, for
                 a token of that agent's own which lives 90 days and is renewed.
                 It has the same -addresses, -tenant and -from, and holds for 24h
                 unless -ttl says otherwise
  -uses N        how many hosts may join by it; by default 1
  -labels a=b,c=d  labels for all targets of who joins, beside the agent's own
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

// A minting is what farscrape-relay token was told.
type minting struct {
	agent, scraper, join            string // one of them is set
	agents, addresses, tenant, from string
	labels                          string
	uses                            int
	ttl                             time.Duration
	renew                           bool
	given                           map[string]bool // the flags that were
}

// defaultLife is how long a token holds that is not told, and defaultJoinLife one to join
// by: it is a secret of many.
const (
	defaultLife     = 8760 * time.Hour
	defaultJoinLife = 24 * time.Hour
)

func parseMinting(args []string) (m minting, err error) {
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&m.agent, "agent", "", "")
	flags.StringVar(&m.scraper, "scraper", "", "")
	flags.StringVar(&m.join, "join", "", "")
	flags.StringVar(&m.agents, "agents", "", "")
	flags.StringVar(&m.addresses, "addresses", "", "")
	flags.StringVar(&m.tenant, "tenant", wire.DefaultTenant, "")
	flags.StringVar(&m.from, "from", "", "")
	flags.StringVar(&m.labels, "labels", "", "")
	flags.IntVar(&m.uses, "uses", 1, "")
	flags.DurationVar(&m.ttl, "ttl", defaultLife, "")
	flags.BoolVar(&m.renew, "renew", true, "")
	if err = flags.Parse(args); err != nil {
		return m, err
	}
	if flags.NArg() > 0 {
		return m, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	m.given = make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { m.given[f.Name] = true })
	if m.join != "" && !m.given["ttl"] {
		m.ttl = defaultJoinLife
	}
	return m, m.check()
}

// check reports flags that do not go together. What a token cannot say, minting tells.
func (m *minting) check() error {
	holders := 0
	for _, name := range []string{m.agent, m.scraper, m.join} {
		if name != "" {
			holders++
		}
	}
	switch {
	case holders != 1:
		return errors.New("say -agent NAME, -scraper NAME or -join NAME")
	case m.agents != "" && m.scraper == "":
		return errors.New("-agents goes with -scraper")
	case m.addresses != "" && m.scraper != "":
		return errors.New("-addresses goes with -agent and -join")
	case (m.labels != "" || m.given["uses"]) && m.join == "":
		return errors.New("-uses and -labels go with -join")
	case m.given["renew"] && m.join != "":
		return errors.New("-renew goes with -agent: what a join token is redeemed for is always renewed")
	case m.ttl < 0:
		return errors.New("-ttl must not be negative; 0 never ends")
	}
	return nil
}

// claims are what the token is to say.
func (m *minting) claims(now time.Time) token.Claims {
	c := token.Claims{Role: token.Agent, Name: m.agent, Tenant: m.tenant, Agents: m.agents, Addresses: m.addresses, From: m.from, Labels: m.labels}
	switch {
	case m.scraper != "":
		c.Role, c.Name = token.Scraper, m.scraper
		c.Renewable = m.given["renew"] && m.renew // which minting refuses
	case m.join != "":
		c.Role, c.Name, c.Uses = token.Join, m.join, m.uses
	default:
		c.Renewable = m.renew && (m.given["renew"] || !c.IsGlob()) // one for a pattern cannot be
	}
	if m.ttl > 0 {
		c.Expires = now.Add(m.ttl)
	}
	return c
}

// mint is farscrape-relay token.
func mint(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) error {
	m, err := parseMinting(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		settings.Usage(stdout, tokenIntro, new(keyConfig))
		return nil
	case err != nil:
		return fmt.Errorf("%w; see farscrape-relay token -help", err)
	}
	keys, err := mintingKeys(environ)
	if err != nil {
		return err
	}
	now := time.Now()
	if m.agent == "-" {
		return mintMany(keys, m.claims(now), now, stdin, stdout, stderr)
	}
	if m.join != "" {
		now = nextSecond(now)
	}
	t, minted, err := keys.Mint(m.claims(now), now)
	if err != nil {
		return err
	}
	time.Sleep(time.Until(now))
	fmt.Fprintln(stdout, t)
	fmt.Fprintf(stderr, "token ID %s\n", minted.ID)
	if m.join != "" {
		fmt.Fprintf(stderr, "farscrape-agent join URL redeems it, %s, until %s\n", times(minted.Uses), minted.Expires.Format(time.RFC3339))
	}
	return nil
}

// nextSecond is when a token to join by is made: times in tokens are whole seconds, and
// one that seems to be older than the store it is redeemed at is refused.
func nextSecond(now time.Time) time.Time { return now.Truncate(time.Second).Add(time.Second) }

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprint(n, " times")
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
