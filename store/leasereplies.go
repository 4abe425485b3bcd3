package store

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// apply takes the directory's answer to one task. Its error says that there
// was none.
func (s *Redis) apply(t *task, cmd *redis.Cmd, events wire.StoreEvents) error {
	if err := cmd.Err(); err != nil {
		s.leases.failed(t, err)
		return err
	}
	switch t.step {
	case stepRelease:
		s.leases.done(t)
	case stepRenew:
		reply, _ := cmd.Slice()
		switch status, taken := parseRenewal(reply); status {
		case "ok":
			s.leases.renewed(t, taken, time.Now().Add(s.timing.renew))
		case "gone":
			s.log.Warn("a lease's record is gone from redis; writing all leases again", "agent", t.lease.AgentKey.String())
			s.leases.rewrite()
		default:
			s.leases.again(t)
		}
	case stepHold:
		epoch, taken, displaced, err := parseHold(cmd)
		switch {
		case errors.Is(err, errOver):
			s.refuse(t, "lists "+strconv.Itoa(taken.bytes), events)
			return nil
		case errors.Is(err, wire.ErrSuperseded), errors.Is(err, wire.ErrNameTaken):
			if s.leases.refused(t, err) {
				events.Lost(t.lease.Link, err)
			}
			return nil
		case err != nil:
			s.leases.failed(t, err)
			return err
		}
		if s.leases.holding(t, epoch, taken, time.Now().Add(s.timing.renew)) {
			events.Registered(t.lease.Link, epoch)
		}
		for replica, links := range displaced {
			s.tellDisplaced(replica, links)
		}
	}
	return nil
}

// applyClaims takes the directory's answer to a lease's claims.
func (s *Redis) applyClaims(t *task, cmd *redis.Cmd) error {
	known, err := parseClaimed(cmd, time.Now())
	if err != nil {
		s.leases.failed(t, err)
		return err
	}
	s.leases.claimed(t, known)
	return nil
}

// tellDisplaced has the replica that holds the links look at their leases now
// and not only when they are due.
func (s *Redis) tellDisplaced(replica wire.ReplicaID, links []wire.LinkID) {
	for _, link := range links {
		s.leases.rewriteLink(link)
	}
	if replica != s.config.Replica {
		s.sender.nudge(replica, links)
	}
}

// errOver: the agent's lists would take more than they may.
var errOver = errors.New("over")

// parseRenewal reads renew.lua's reply.
func parseRenewal(reply []any) (status string, taken size) {
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

// parseHold reads hold.lua's reply.
func parseHold(cmd *redis.Cmd) (epoch uint64, taken size, displaced map[wire.ReplicaID][]wire.LinkID, err error) {
	reply, err := cmd.StringSlice()
	if err != nil {
		return 0, taken, nil, fmt.Errorf("hold: %w", err)
	}
	switch {
	case len(reply) == 0:
		return 0, taken, nil, fmt.Errorf("hold: %w", errReply)
	case reply[0] == "superseded":
		return 0, taken, nil, wire.ErrSuperseded
	case reply[0] == "taken":
		return 0, taken, nil, wire.ErrNameTaken
	case reply[0] == "over" && len(reply) == 2:
		taken, _ = parseSize("0", reply[1])
		return 0, taken, nil, errOver
	case reply[0] != "ok" || len(reply) < 4 || len(reply)%2 != 0:
		return 0, taken, nil, fmt.Errorf("hold: %w", errReply)
	}
	if epoch, err = strconv.ParseUint(reply[1], 10, 64); err == nil {
		taken, err = parseSize(reply[2], reply[3])
	}
	if err != nil {
		return 0, taken, nil, fmt.Errorf("hold: %w", errReply)
	}
	displaced = make(map[wire.ReplicaID][]wire.LinkID)
	for i := 4; i < len(reply); i += 2 {
		replica := wire.ReplicaID(reply[i])
		displaced[replica] = append(displaced[replica], wire.LinkID(reply[i+1]))
	}
	return epoch, taken, displaced, nil
}
