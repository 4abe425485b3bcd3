package token_test

import (
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/token"
)

func Example() {
	keys, err := token.ParseKeys([]byte("the first key, which signs: 32 bytes or more\n"))
	if err != nil {
		panic(err)
	}
	now := time.Now()
	signed, _, err := keys.Mint(token.Claims{
		Role:    token.Scraper,
		Name:    "prometheus",
		Agents:  "edge-*",
		Expires: now.Add(24 * time.Hour),
	}, now)
	if err != nil {
		panic(err)
	}
	claims, err := keys.Verify(signed, now)
	if err != nil {
		panic(err)
	}
	fmt.Println(claims.Role, claims.Name, "of tenant", claims.Tenant)
	fmt.Println(claims.AllowsAgent("edge-1"), claims.AllowsAgent("core-1"))
	// Output:
	// scraper prometheus of tenant default
	// true false
}
