package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// apply takes the directory's answer to one task. Its error says that there
// was none.
func (s *Redis) apply(ctx context.Context, t *task, cmd *redis.Cmd, events wire.StoreEvents) error {
	if err := cmd.Err(); err != nil {
		s.entries.failed(t, err)
		return err
	}
	switch t.step {
	case stepRelease:
		t.dropped, _ = cmd.Text()
		s.entries.done(t)
	case stepAudit:
		reply, _ := cmd.Slice()
		switch status, taken := parseAudit(reply); status {
		case "ok":
			s.entries.found(t, taken)
		case "gone":
			s.log.Warn("an entry's record is gone from redis; writing all entries again", "agent", t.entry.AgentKey.String())
			s.entries.rewrite()
		default:
			s.entries.again(t)
		}
	case stepHold:
		held, err := parseHold(cmd)
		t.dropped = held.dropped
		if ended := s.endedOf(ctx, held.blocking); len(ended) > 0 {
			s.entries.again(t, ended...)
			return nil
		}
		switch {
		case errors.Is(err, errMissing):
			s.entries.again(t)
			return nil
		case errors.Is(err, errOver):
			s.refuse(t, "lists "+strconv.Itoa(held.taken.bytes), events)
			return nil
		case errors.Is(err, wire.ErrSuperseded), errors.Is(err, wire.ErrNameTaken):
			if s.entries.refused(t, err) {
				events.Lost(t.entry.Link, err)
			}
			return nil
		case err != nil:
			s.entries.failed(t, err)
			return err
		}
		if s.entries.holding(t, held.epoch, held.taken) {
			events.Registered(t.entry.Link, held.epoch)
		}
		for replica, links := range held.displaced {
			s.tellDisplaced(replica, links)
		}
	}
	return nil
}

// applyClaims takes the directory's answer to an entry's claims.
func (s *Redis) applyClaims(t *task, cmd *redis.Cmd) error {
	known, err := parseClaimed(cmd, time.Now())
	if err != nil {
		s.entries.failed(t, err)
		return err
	}
	s.entries.claimed(t, known)
	return nil
}

// errOver: the agent's lists would take more than they may.
var errOver = errors.New("over")

// errMissing: the directory has not what the entry should have had before.
var errMissing = errors.New("missing")

// parseAudit reads audit.lua's reply.
func parseAudit(reply []any) (status string, taken size) {
	if len(reply) == 0 {
		return "", taken
	}
	status, _ = reply[0].(string)
	if len(reply) == 3 {
		taken, _ = parseSize(fmt.Sprint(reply[1]), fmt.Sprint(reply[2]))
	}
	return status, taken
}

func parseSize(targets, bytes string) (s size, err error) {
	if s.targets, err = strconv.Atoi(targets); err == nil {
		s.bytes, err = strconv.Atoi(bytes)
	}
	return s, err
}

// A holding is hold.lua's reply.
type holding struct {
	epoch     uint64
	taken     size
	dropped   string // lists that the record does not name, or not any more
	displaced map[wire.ReplicaID][]wire.LinkID
	blocking  []leaseID // of a refusal: what the links that were in the way stand on
}

// parseHold reads hold.lua's reply.
func parseHold(cmd *redis.Cmd) (h holding, err error) {
	reply, err := cmd.StringSlice()
	if err != nil {
		return h, fmt.Errorf("hold: %w", err)
	}
	if len(reply) < 2 {
		return h, fmt.Errorf("hold: %w", errReply)
	}
	verdict, rest := reply[0], reply[2:]
	h.dropped = reply[1]
	switch {
	case verdict == "missing":
		return h, errMissing
	case verdict == "superseded":
		h.blocking = parseLeases(rest)
		return h, wire.ErrSuperseded
	case verdict == "taken":
		h.blocking = parseLeases(rest)
		return h, wire.ErrNameTaken
	case verdict == "over" && len(rest) >= 1:
		h.taken, _ = parseSize("0", rest[0])
		h.blocking = parseLeases(rest[1:])
		return h, errOver
	case verdict != "ok" || len(rest) < 3 || len(rest)%2 != 1:
		return h, fmt.Errorf("hold: %w", errReply)
	}
	if h.epoch, err = strconv.ParseUint(rest[0], 10, 64); err == nil {
		h.taken, err = parseSize(rest[1], rest[2])
	}
	if err != nil {
		return h, fmt.Errorf("hold: %w", errReply)
	}
	h.displaced = make(map[wire.ReplicaID][]wire.LinkID)
	for displaced := range slices.Chunk(rest[3:], 2) {
		replica := wire.ReplicaID(displaced[0])
		h.displaced[replica] = append(h.displaced[replica], wire.LinkID(displaced[1]))
	}
	return h, nil
}

// parseDropped reads the hashes of the lists that a record does not name any more.
func parseDropped(said string) (lists []wire.ListHash) {
	for hash := range strings.FieldsSeq(said) {
		if h, ok := wire.ParseListHash(hash); ok {
			lists = append(lists, h)
		}
	}
	return lists
}

// parseLeases reads the leases among what links are said to stand on: those of
// earlier versions have times.
func parseLeases(said []string) (leases []leaseID) {
	for _, s := range said {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && leaseID(n).isLease() {
			leases = append(leases, leaseID(n))
		}
	}
	return leases
}
