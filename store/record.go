package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// A line is one link in a record; scripts/record.lua has its form.
type line struct {
	link         wire.LinkID
	epoch        uint64
	expiry, seen int64 // in ms of Redis's clock
	shared       bool
	instance     wire.InstanceID
	replica      wire.ReplicaID
}

func parseLine(s string) (l line, ok bool) {
	f := strings.Split(s, " ")
	if len(f) != 7 {
		return line{}, false
	}
	var errs [3]error
	l = line{link: wire.LinkID(f[0]), shared: f[4] == "1", instance: wire.InstanceID(f[5]), replica: wire.ReplicaID(f[6])}
	l.epoch, errs[0] = strconv.ParseUint(f[1], 10, 64)
	l.expiry, errs[1] = strconv.ParseInt(f[2], 10, 64)
	l.seen, errs[2] = strconv.ParseInt(f[3], 10, 64)
	return l, errs == [3]error{}
}

// lease puts a lease together from its line and its details, which do not know
// of an epoch given later. Details that cannot be read leave what the line says:
// the link still works.
func (l *line) lease(key wire.AgentKey, details string) wire.Lease {
	var lease wire.Lease
	if json.Unmarshal([]byte(details), &lease) != nil {
		lease = wire.Lease{}
	}
	lease.AgentKey, lease.Link, lease.Epoch = key, l.link, l.epoch
	lease.Instance, lease.Replica, lease.Shared = l.instance, l.replica, l.shared
	return lease
}

// parseRecord reads lookup.lua's reply; nil if there is no record.
func parseRecord(key wire.AgentKey, cmd *redis.Cmd) (*wire.Agent, error) {
	reply, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) != 2 {
		return nil, fmt.Errorf("lookup: %w", errReply)
	}
	clock, _ := reply[0].(string)
	now, err := strconv.ParseInt(clock, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("lookup: %w", errReply)
	}
	flat, ok := reply[1].([]any)
	if !ok {
		return nil, fmt.Errorf("lookup: %w", errReply)
	}
	fields := make(map[string]string, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		name, _ := flat[i].(string)
		fields[name], _ = flat[i+1].(string)
	}
	return decodeRecord(key, now, fields), nil
}

// decodeRecord makes an agent of a record's fields; now is Redis's clock.
// Lines that cannot be read it leaves out.
func decodeRecord(key wire.AgentKey, now int64, fields map[string]string) *wire.Agent {
	var newest *line
	a := &wire.Agent{AgentKey: key}
	seen, _ := strconv.ParseInt(fields["seen"], 10, 64)
	for s := range strings.SplitSeq(fields["links"], "\n") {
		l, ok := parseLine(s)
		if !ok {
			continue
		}
		seen = max(seen, l.seen)
		lease := l.lease(key, fields["d:"+string(l.link)])
		if l.expiry > now {
			a.Links = append(a.Links, lease)
		}
		if newest == nil || younger(&lease, &a.Last) || !younger(&a.Last, &lease) && l.expiry > newest.expiry {
			newest, a.Last = &l, lease
		}
	}
	if newest == nil {
		return nil
	}
	slices.SortFunc(a.Links, byEpoch)
	parseClaims(fields["claims"]).of(a)
	a.LastSeen = time.UnixMilli(seen)
	if !a.Connected() {
		if a.LastClose = fields["close"]; a.LastClose == "" {
			a.LastClose = wire.CauseLost.String() // its replica went without a word
		}
	}
	return a
}
