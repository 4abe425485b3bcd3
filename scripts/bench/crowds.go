package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/farscrape/farscrape/scripts/rig"
)

// crowdOfLinks is the argument with which this program runs itself to be a crowd: one
// process's descriptors and processor time would not do for a fleet's.
const crowdOfLinks = "crowd-of-links"

// crowdEnv is where such a process finds its tokens, separated by commas.
const crowdEnv = "CROWD_TOKENS"

// fillFleet gives each replica a crowd, a process each.
func (b *bench) fillFleet(g *gathering) {
	self, err := os.Executable()
	b.Must(err)
	for i, r := range g.replicas {
		n := g.share(i)
		tokens := strings.Join(b.crowdTokens(r.Name, n), ",")
		b.Start("crowd-of-"+r.Name, []string{crowdEnv + "=" + tokens}, self, crowdOfLinks, strconv.Itoa(n), r.Addr)
	}
}

// runCrowd is as many agents as the first argument says, of the relay at the second,
// until it is told to stop.
func runCrowd(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	n, err := strconv.Atoi(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	r := rig.New(ctx, os.TempDir())
	defer r.Clear()
	r.StartCrowd(n, args[1], nil, strings.Split(os.Getenv(crowdEnv), ","), crowdBody)
	<-ctx.Done()
	return 0
}

// crowdOfTenant is how many agents of a crowd are one tenant's: with tokens for a
// pattern it may have 7,500.
const crowdOfTenant = 5000

// crowdTokens are those of n agents, one a tenant, so that no tenant is too large.
func (b *bench) crowdTokens(name string, n int) (tokens []string) {
	for i := range (n + crowdOfTenant - 1) / crowdOfTenant {
		tokens = append(tokens, b.Mint("-agent", "crowd-*", "-tenant", crowdTenant(name, i)))
	}
	return tokens
}

// crowdTenant is what number i of a crowd's tenants is called.
func crowdTenant(crowd string, i int) string { return fmt.Sprintf("%s-%d", crowd, i) }

// placesFor has a replica room for a crowd, of which one token may hold half.
func placesFor(links int) string { return fmt.Sprintf("FARSCRAPE_MAX_LINKS=%d", 2*links) }

func crowdBody(string) []byte { return []byte("up 1\n") }
