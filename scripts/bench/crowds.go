package main

import "fmt"

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
