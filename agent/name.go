package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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
	Name string `json:"sub"` // or a pattern
	Role string `json:"role"`
}

// readClaims takes a token's payload out; of anything but a JWT it is empty.
func readClaims(token string) claims {
	var c claims
	if parts := strings.Split(token, "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			if json.Unmarshal(payload, &c) != nil {
				return claims{}
			}
		}
	}
	return c
}

// agentName is the name this agent goes by: the configured one, else the
// token's, else the host's.
func agentName(configured string, token claims, host func() (string, error)) (string, error) {
	if token.Role == "scraper" {
		return "", errors.New("FARSCRAPE_TOKEN: this is a scraper's token: make an agent's with farscrape-relay token -agent NAME")
	}
	if configured != "" {
		return checkName(configured, "FARSCRAPE_NAME")
	}
	if token.Name != "" && !wire.IsGlob(token.Name) {
		return checkName(token.Name, "the token's name")
	}
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
