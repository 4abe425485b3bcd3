package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// claims are what the agent reads of its own token, without checking it: that
// is the relay's to do.
type claims struct {
	Name    string `json:"sub"` // or a pattern
	Role    string `json:"role"`
	Tenant  string `json:"tenant"`
	ID      string `json:"jti"`
	Issued  int64  `json:"iat"` // Unix time, in seconds, as is the next
	Expires int64  `json:"exp"` // 0: never
	Labels  string `json:"labels"`
	key     string // the ID of the one that signed it
}

// renews reports whether a token is one in the place of another.
func (c claims) renews(other claims) bool {
	return c.ID != "" && c.ID == other.ID && c.Name == other.Name && c.Role == other.Role && c.Tenant == other.Tenant
}

// kept is what a replica is told of it.
func (c claims) kept() wire.Kept { return wire.Kept{Key: c.key, Expires: c.Expires} }

// expiry is for the log.
func (c claims) expiry() string {
	if c.Expires == 0 {
		return "never"
	}
	return c.kept().Expiry().Format(time.RFC3339)
}

// readClaims takes a token's header and payload apart, if it is a JWT.
func readClaims(token string) (c claims, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	var header struct {
		Key string `json:"kid"`
	}
	decode := func(part string, to any) bool {
		text, err := base64.RawURLEncoding.DecodeString(part)
		return err == nil && json.Unmarshal(text, to) == nil
	}
	if !decode(parts[0], &header) || !decode(parts[1], &c) {
		return claims{}, false
	}
	c.key = header.Key
	return c, true
}

// agentName is the name this agent goes by: the configured one, else that of the
// token, which came by the variable setting, else the host's. Beside a token the
// certificate's is nobody's: it may be for a front only.
func agentName(configured, token, setting string, host func() (string, error)) (string, error) {
	c, ok := readClaims(token)
	if c.Role == "scraper" {
		return "", fmt.Errorf("%s: this is a scraper's token: make an agent's with farscrape-relay token -agent NAME", setting)
	}
	if c.Role == "join" {
		return "", fmt.Errorf("%s: this is a join token: farscrape-agent join URL redeems it, or name its file by FARSCRAPE_JOIN_TOKEN_FILE instead", setting)
	}
	if configured != "" {
		return checkName(configured, "FARSCRAPE_NAME")
	}
	if !ok { // the host's name is for tokens that leave the choice
		return "", fmt.Errorf("%s: this is no token, three parts with dots between them: take what farscrape-relay token -agent NAME prints, whole", setting)
	}
	if c.Name != "" && !wire.IsGlob(c.Name) {
		return checkName(c.Name, "the name in "+setting+"'s token")
	}
	return nameOfHost(host)
}

// nameOfHost is this host's name, if it is one that stays.
func nameOfHost(host func() (string, error)) (string, error) {
	name, err := host()
	if err != nil {
		return "", fmt.Errorf("this host's name: %w: set FARSCRAPE_NAME", err)
	}
	first, _, _ := strings.Cut(name, ".")
	if regexp.MustCompile(`^([0-9a-f]{12}|[0-9a-f]{64})$`).MatchString(first) {
		return "", fmt.Errorf("this host is called %s, which is a container's ID and changes with each start: set FARSCRAPE_NAME, or use a token made for one name", first)
	}
	return checkName(name, "this host's name")
}

func checkName(name, source string) (string, error) {
	name = strings.ToLower(name)
	if err := wire.CheckAgentName(name); err != nil {
		return "", fmt.Errorf("%s: %w: set FARSCRAPE_NAME to a DNS name", source, err)
	}
	return name, nil
}

// hostFQDN is this host's name with its domain if the resolver knows it.
func hostFQDN() (string, error) {
	host, err := os.Hostname()
	if err != nil || strings.Contains(host, ".") {
		return strings.TrimSuffix(host, "."), err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	full, err := net.DefaultResolver.LookupCNAME(ctx, host)
	if err == nil && strings.HasPrefix(strings.ToLower(full), strings.ToLower(host)+".") {
		return strings.TrimSuffix(full, "."), nil
	}
	return host, nil
}
