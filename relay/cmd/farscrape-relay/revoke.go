package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
)

// revokeConfig is what taking back needs of the relay's environment: no key.
type revokeConfig struct {
	RedisURL     string `env:"REDIS_URL" help:"the replicas' Redis; empty: they have the embedded store, and REVOKED_FILE is edited"`
	RedisURLFile string `env:"REDIS_URL_FILE" help:"a file that holds REDIS_URL"`
	RedisCA      string `env:"REDIS_TLS_CA_FILE" help:"PEM certificates that may sign Redis's; by default the system's"`
	RedisCert    string `env:"REDIS_TLS_CERT_FILE" help:"a certificate for Redis, PEM"`
	RedisKey     string `env:"REDIS_TLS_KEY_FILE" help:"and its key"`
	RedisPrefix  string `env:"REDIS_PREFIX" envDefault:"farscrape:" help:"before every key in Redis"`
	RevokedFile  string `env:"REVOKED_FILE" help:"the list that a replica with the embedded store watches. With Redis it is read by -list alone"`
}

const revokeIntro = `farscrape-relay revoke takes tokens back; unrevoke gives them again.

Usage:
  farscrape-relay revoke -agent NAME [-before T] [-tenant T]
  farscrape-relay revoke -scraper NAME [-before T] [-tenant T]
  farscrape-relay revoke -token ID [-before T]
  farscrape-relay revoke -list
  farscrape-relay unrevoke -agent NAME | -scraper NAME | -token ID [-tenant T]

  -agent NAME    what the agent of that name was issued, and what lets somebody go by
                 its name. A pattern, such as 'edge-*', is for all that fit it
  -scraper NAME  what a Prometheus was issued
  -token ID      the token of that ID, whatever its tenant
  -before T      only what was first issued before that time, such as
                 2026-11-22T12:00:00Z. By default whatever was issued so far: what is
                 issued once the command has returned is good at once. Of -token, by
                 default, whenever it was issued
  -tenant T      by default "default"
  -list          what is taken back

With Redis the command waits until all living replicas refuse the tokens and have
closed their links, within seconds. It fails if one has not, and names it, and if none
is alive.`

// A taking is what a person wants taken back, or given again.
type taking struct {
	subject wire.RevokedSubject
	before  int64 // Unix time, in seconds; 0: whatever was issued so far
	list    bool
}

// revoke is farscrape-relay revoke, and unrevoke if it lifts.
func revoke(ctx context.Context, lifts bool, args, environ []string, stdout io.Writer) error {
	want, err := parseTaking(lifts, args, time.Now())
	if errors.Is(err, flag.ErrHelp) {
		settings.Usage(stdout, revokeIntro, new(revokeConfig))
		return nil
	}
	if err != nil {
		return err
	}
	var c revokeConfig
	if err := settings.Load(&c, environ); err != nil {
		return err
	}
	switch {
	case want.list:
		return c.listRevoked(ctx, stdout)
	case c.hasRedis():
		err = c.revokeInRedis(ctx, lifts, want, stdout)
	case c.RevokedFile != "":
		err = c.revokeInFile(ctx, lifts, want, stdout)
	default:
		err = errors.New("FARSCRAPE_REDIS_URL must be set, as the replicas have it; or, where the one replica has the embedded store, FARSCRAPE_REVOKED_FILE")
	}
	if errors.Is(err, store.ErrNotRevoked) {
		return fmt.Errorf("%s: %w by that name: farscrape-relay revoke -list has what is", told(want.subject), err)
	}
	return err
}

// mostWait is how long a command waits for its clock: tokens have whole seconds, and
// clocks that are kept right are apart by less than another.
const mostWait = 3 * time.Second

// waitPast waits until nothing is issued here any more that a revocation takes back. If
// that is long it says so instead.
func waitPast(ctx context.Context, r wire.Revocation, stdout io.Writer) {
	wait := time.Until(time.Unix(r.Before, 0))
	switch {
	case r.Before >= wire.MaxBefore || wait <= 0:
	case wait > mostWait:
		fmt.Fprintf(stdout, "this machine's clock is %v behind that: what it issues until then is dead, too\n", wait.Round(time.Second))
	default:
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func parseTaking(lifts bool, args []string, now time.Time) (want taking, err error) {
	name := "revoke"
	if lifts {
		name = "unrevoke"
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	of := map[wire.RevokedKind]*string{}
	for _, kind := range []wire.RevokedKind{wire.RevokedAgent, wire.RevokedScraper, wire.RevokedToken} {
		of[kind] = flags.String(string(kind), "", "")
	}
	tenant, before := flags.String("tenant", wire.DefaultTenant, ""), new(string)
	if !lifts {
		before = flags.String("before", "", "")
		flags.BoolVar(&want.list, "list", false, "")
	}
	err = flags.Parse(args)
	set := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { set[f.Name] = true })
	switch {
	case errors.Is(err, flag.ErrHelp):
		return want, err
	case err != nil:
		return want, fmt.Errorf("%w; see farscrape-relay %s -help", err, name)
	case flags.NArg() > 0:
		return want, fmt.Errorf("what is behind the flags? See farscrape-relay %s -help", name)
	case want.list && len(set) > 1:
		return want, errors.New("-list goes alone")
	case want.list:
		return want, nil
	}
	for kind, value := range of {
		if !set[string(kind)] {
			continue
		}
		if want.subject.Kind != "" {
			return want, errors.New("say one of -agent NAME, -scraper NAME and -token ID")
		}
		want.subject = wire.RevokedSubject{Kind: kind, Tenant: *tenant, Name: *value}
	}
	return want, want.complete(*before, set["tenant"], name, now)
}

// complete checks whose tokens are meant, and says before when they were issued.
func (t *taking) complete(before string, hasTenant bool, name string, now time.Time) (err error) {
	switch t.subject.Kind {
	case "":
		return fmt.Errorf("say -agent NAME, -scraper NAME or -token ID; see farscrape-relay %s -help", name)
	case wire.RevokedAgent:
		t.subject.Name = strings.ToLower(t.subject.Name)
	case wire.RevokedToken:
		if hasTenant {
			return errors.New("-tenant does not go with -token: an ID is nobody else's")
		}
		t.subject.Name, t.subject.Tenant = strings.ToLower(t.subject.Name), ""
		t.before = wire.MaxBefore
	}
	if err := t.subject.Check(); err != nil {
		return fmt.Errorf("-%s: %w", t.subject.Kind, err)
	}
	if before == "" {
		return nil
	}
	if t.before, err = token.ParseBefore(before); err != nil {
		return fmt.Errorf("-%w", err)
	}
	t.before = max(t.before, 1) // 0 stands for none given
	if t.before > now.Unix()+1 {
		return errors.New("-before is a time to come: what is issued until then would be dead, too")
	}
	return nil
}

// told is a subject for people.
func told(s wire.RevokedSubject) string {
	if s.Kind == wire.RevokedToken {
		return "token " + s.Name
	}
	return fmt.Sprintf("%s %s of tenant %s", s.Kind, s.Name, s.Tenant)
}

func (c *revokeConfig) hasRedis() bool { return c.RedisURL != "" || c.RedisURLFile != "" }

// revoker leads to the replicas' Redis.
func (c *revokeConfig) revoker() (*store.Revoker, error) {
	store.SetDriverLogger(slog.New(slog.DiscardHandler)) // errors are returned, too
	as := &config{RedisURL: c.RedisURL, RedisURLFile: c.RedisURLFile, RedisCA: c.RedisCA, RedisCert: c.RedisCert, RedisKey: c.RedisKey}
	url, err := settings.Secret(c.RedisURL, c.RedisURLFile, "REDIS_URL")
	if err != nil {
		return nil, err
	}
	conf, err := as.redisTLS()
	if err != nil {
		return nil, err
	}
	r, err := store.NewRevoker(store.RedisConfig{URL: string(url), URLSetting: as.redisSetting(), TLS: conf, CAFile: c.RedisCA, Prefix: c.RedisPrefix})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", as.redisSetting(), err)
	}
	return r, nil
}

func (c *revokeConfig) revokeInRedis(ctx context.Context, lifts bool, want taking, stdout io.Writer) error {
	r, err := c.revoker()
	if err != nil {
		return err
	}
	defer r.Close()
	var order store.Order
	if lifts {
		order, err = r.Unrevoke(ctx, want.subject)
	} else {
		order, err = r.Revoke(ctx, want.subject, want.before)
	}
	if err != nil {
		return err
	}
	if lifts {
		fmt.Fprintf(stdout, "%s: what was taken back is good again\n", told(want.subject))
	} else {
		fmt.Fprintf(stdout, "%s: taken back, issued before %s\n", told(want.subject), order.BeforeText())
	}
	said, err := r.Await(ctx, order)
	if err != nil {
		return fmt.Errorf("it stands in Redis, but who has carried it out is not known: %w", err)
	}
	fmt.Fprintf(stdout, "replicas that have confirmed: %d; links closed: %d\n", said.Replicas, said.Links)
	if !lifts {
		waitPast(ctx, order.Revocation, stdout)
	}
	return unconfirmed(said)
}

// unconfirmed names the replicas that have not carried out what they are to.
func unconfirmed(said store.Confirmed) error {
	if said.Replicas+len(said.Missing)+len(said.Silent)+len(said.Older) == 0 {
		return errors.New("no replica is alive there: check FARSCRAPE_REDIS_URL and FARSCRAPE_REDIS_PREFIX; it stands in Redis all the same")
	}
	var all []error
	if len(said.Missing) > 0 {
		all = append(all, fmt.Errorf("%v did not confirm: they are alive and may go on as before: stop them, or see their logs", said.Missing))
	}
	if len(said.Silent) > 0 {
		all = append(all, fmt.Errorf("%v fell silent before they confirmed: if they were killed all is well; if they are only cut off from Redis they go on as before until they reach it", said.Silent))
	}
	if len(said.Older) > 0 {
		all = append(all, fmt.Errorf("%v are of an earlier version, which knows nothing of this: they go on as before until they are updated", said.Older))
	}
	return errors.Join(all...)
}
