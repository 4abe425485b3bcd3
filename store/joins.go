package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// Who has joined stands in keys of one slot, which scripts/join.lua reads and writes
// together: one server judges, and so a token is redeemed exactly so often. The names
// stay until others take their place; what a token was redeemed for goes after it has
// ended.

// usesStay is for how long after a join token has ended its uses are remembered: by
// replicas whose clocks are behind it may count for longer.
const usesStay = 24 * time.Hour

// Join counts who joins by a token, unless it did so before; then again is true. Else it
// is one of the errors of package wire, or Redis's: then it may have counted, and is
// asked again with the same joiner.
func (s *Redis) Join(ctx context.Context, j wire.Join) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	free := ""
	if j.Free {
		free = "free"
	}
	reply, err := runCall(ctx, s.clients.directory, call{
		script: s.scripts.join, key: s.keys.joinsBorn(), also: []string{s.keys.joinedNames(j.Tenant), s.keys.joinUses(j.TokenID), s.keys.joinTokens()},
		args: []any{j.Minted.UnixMilli(), j.Expires.Add(usesStay).UnixMilli(), j.Uses, j.Agent, j.Joiner, free, j.Instead, j.TokenID},
	}).StringSlice()
	if err != nil {
		return false, fmt.Errorf("join: %w", err)
	}
	return parseJoined(reply)
}

func parseJoined(reply []string) (again bool, err error) {
	number := func(i int) int64 {
		n, bad := strconv.ParseInt(reply[i], 10, 64)
		if bad != nil {
			err = fmt.Errorf("join: %w", errReply)
		}
		return n
	}
	what := ""
	if len(reply) > 0 {
		what = reply[0]
	}
	switch {
	case what == "joined", what == "again":
		return what == "again", nil
	case what == "early" && len(reply) == 2:
		if early := time.Duration(number(1)) * time.Millisecond; err == nil {
			err = &wire.JoinEarlyError{By: early}
		}
		return false, err
	case what == "joined by" && len(reply) == 3:
		if first := time.Unix(number(2), 0).UTC(); err == nil {
			err = &wire.NameJoinedError{Joiner: reply[1], First: first}
		}
		return false, err
	case what == "old":
		return false, wire.ErrJoinOld
	case what == "renamed":
		return false, wire.ErrJoinRenamed
	case what == "in use":
		return false, wire.ErrNameInUse
	case what == "used up":
		return false, wire.ErrJoinsUsedUp
	}
	return false, fmt.Errorf("join: %w", errReply)
}

// beginJoins sees that it stands since when joins are counted, before a token is made to
// join by: one that is older does not count. It is called when Redis answers first, and
// when it may have been emptied; else the first who joins begins it.
func (s *Redis) beginJoins(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if err := runCall(ctx, s.clients.directory, call{script: s.scripts.joinable, key: s.keys.joinsBorn()}).Err(); err != nil {
		s.log.Debug("cannot begin to count who joins", "err", err)
	}
}
