package store

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// claims say since when an agent has claimed proxy-mode addresses, in lower
// case; its name is the empty one. They do not change: what changes them makes
// new ones.
type claims map[string]time.Time

// declare returns the claims of an agent that declares these targets: those it
// had are as old as they were, new ones begin now, and what is not among them
// any longer goes, unless another instance may declare it.
func (c claims) declare(targets []wire.Target, others bool, now time.Time) claims {
	declared := make(claims, len(c))
	note := func(address string) {
		if since, claimed := c[address]; claimed {
			declared[address] = since
		} else {
			declared[address] = now
		}
	}
	note("")
	for i := range targets {
		if targets[i].Address != "" {
			note(strings.ToLower(targets[i].Address))
		}
	}
	if others {
		for address, since := range c {
			if _, also := declared[address]; !also && len(declared) < 2*wire.MaxTargets {
				declared[address] = since
			}
		}
	}
	return declared
}

// noYounger returns the claims, as old as known has those of them that are older
// there.
func (c claims) noYounger(known claims) claims {
	aged := maps.Clone(c)
	for address, since := range c {
		if before, ok := known[address]; ok && before.Before(since) {
			aged[address] = before
		}
	}
	return aged
}

// of notes the claims in what is known of the agent. The name is among them where
// there are any others.
func (c claims) of(a *wire.Agent) {
	a.Since = c[""]
	if len(c) > 1 {
		a.Claims = c
	}
}

// claimsOf are the claims of an agent in a listing, by Redis's clock; nil if they
// are not known.
func claimsOf(a *wire.Agent) claims {
	if a.Since.IsZero() {
		return nil
	}
	if a.Claims == nil {
		return claims{"": a.Since}
	}
	return a.Claims
}

// claimSize is about what a claim takes in a call, in bytes.
const claimSize = 32

// claimCall tells the directory of the claims, or of what has changed of those that it
// was told before, which are nil if that is not known. It goes after the call that
// writes the entry, and is not needed where nothing has changed.
func (s *Redis) claimCall(l *wire.Entry, before, c claims, now time.Time) (call, bool) {
	whole := before == nil
	args := []any{string(l.Link), string(l.Instance), s.endedLeases(), whole}
	fixed := len(args)
	for _, address := range slices.Sorted(maps.Keys(c)) {
		if _, told := before[address]; !told {
			args = append(args, address, max(now.Sub(c[address]), 0).Milliseconds())
		}
	}
	for _, address := range slices.Sorted(maps.Keys(before)) {
		if _, still := c[address]; !still {
			args = append(args, address, "-")
		}
	}
	return call{script: s.scripts.claim, key: s.keys.agent(l.AgentKey), args: args}, whole || len(args) > fixed
}

// parseClaimed reads claim.lua's reply: the claims it was told of, and any others that
// it gives, by this process's clock.
func parseClaimed(cmd *redis.Cmd, now time.Time) (claims, error) {
	reply, err := cmd.StringSlice()
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	if len(reply) != 2 {
		return nil, fmt.Errorf("claim: %w", errReply)
	}
	clock, err := strconv.ParseInt(reply[0], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", errReply)
	}
	c := parseClaims(reply[1])
	for address, since := range c {
		c[address] = now.Add(since.Sub(time.UnixMilli(clock)))
	}
	return c, nil
}

// maxMillis is as late as a time may be and be written as JSON, in ms since 1970:
// the end of the year 9999.
const maxMillis = 253_402_300_799_999

// parseClaims reads a record's field, by Redis's clock. Lines that cannot be read
// it leaves out.
func parseClaims(field string) claims {
	if field == "" {
		return nil // a replica of an earlier version wrote the record
	}
	c := make(claims, strings.Count(field, "\n")+1)
	for line := range strings.SplitSeq(field, "\n") {
		at, address, ok := strings.Cut(line, " ")
		ms, err := strconv.ParseInt(at, 10, 64)
		if ok && err == nil && ms == max(min(ms, maxMillis), 0) {
			c[address] = time.UnixMilli(ms)
		}
	}
	return c
}
