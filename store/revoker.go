package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// ErrNotRevoked: nothing of that subject is taken back.
var ErrNotRevoked = errors.New("it is not taken back")

// A Revoker takes back, by what the replicas of a Redis share, without being one.
type Revoker struct{ s *Redis }

// NewRevoker makes a Revoker. It needs of the configuration what leads to Redis.
func NewRevoker(config RedisConfig) (*Revoker, error) {
	config.Replica = wire.NewID[wire.ReplicaID]() // of nobody
	s, err := NewRedis(config)
	if err != nil {
		return nil, err
	}
	return &Revoker{s}, nil
}

// Close closes the connections.
func (r *Revoker) Close() { r.s.clients.close() }

// An Order is what all replicas are to carry out.
type Order struct {
	id string
	wire.Revocation
}

// Revoke takes back what was issued to the subject before a time, in Unix seconds; 0 is
// the next whole second of Redis's clock: whatever was issued so far. If it was taken
// back before, with a later time, that stands.
func (r *Revoker) Revoke(ctx context.Context, subject wire.RevokedSubject, before int64) (Order, error) {
	if before == 0 {
		return r.order(ctx, subject, "next", "now", 0)
	}
	return r.order(ctx, subject, before, "now", 0)
}

// Unrevoke lifts a revocation. It wraps ErrNotRevoked if there is none that holds.
func (r *Revoker) Unrevoke(ctx context.Context, subject wire.RevokedSubject) (Order, error) {
	return r.order(ctx, subject, 0, 0, "now")
}

func (r *Revoker) order(ctx context.Context, subject wire.RevokedSubject, before, made, lifted any) (o Order, err error) {
	if err := subject.Check(); err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	o.id = string(wire.NewID[wire.ReplicaID]())
	switch reply, err := r.s.joinRevoked(ctx, o.id, []any{subject.String(), before, made, lifted}); {
	case err != nil:
		return o, r.failed(err)
	case len(reply) == 1 && reply[0] == "full":
		return o, fmt.Errorf("no room for another revocation: there may be %d in all, and %d of patterns: take back a pattern in the place of many names, or unrevoke those whose tokens have ended, which makes room a week later",
			wire.MaxRevocations, wire.MaxRevokedPatterns)
	case len(reply) == 1 && reply[0] == "ahead":
		return o, errors.New("what is issued until more than a day from now would be taken back by Redis's clock, and replicas take no such time: nothing is taken back; see that the clocks of this machine and of Redis are right")
	case len(reply) == 1 && reply[0] == "none":
		return o, ErrNotRevoked
	case len(reply) != 2:
		return o, fmt.Errorf("revoke: %w", errReply)
	default:
		o.Revocation, err = parseRevoked(subject, reply[1])
		return o, err
	}
}

// List returns what is taken back, and what was and is lifted.
func (r *Revoker) List(ctx context.Context) ([]wire.Revocation, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	read, err := readRevoked(ctx, r.s.clients.directory, r.s.keys)
	if err != nil {
		return nil, r.failed(err)
	}
	return wire.NewRevocations(read.all).All(), nil
}

// Confirmed is what the living replicas have said of an order.
type Confirmed struct {
	Replicas int              // that have carried it out
	Links    int              // that they closed
	Missing  []wire.ReplicaID // that have not
	Silent   []wire.ReplicaID // that have not, and whose leases have ended since: killed, or cut off from Redis
	Older    []wire.ReplicaID // of an earlier version, which know of no revocations
}

const (
	// confirmWithin is how long replicas are waited for: until it is known of one that was
	// killed that its lease has ended.
	confirmWithin = Lease + 2*time.Second
	// confirmSettles is how long they are counted at least: an emptied Redis names none
	// of them for half a second.
	confirmSettles = 1500 * time.Millisecond
	confirmLook    = 100 * time.Millisecond
)

// Await waits until all living replicas have carried an order out, as long as that may
// take. Who has not then is named.
func (r *Revoker) Await(ctx context.Context, o Order) (Confirmed, error) {
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	began := time.Now()
	tick := time.NewTicker(confirmLook)
	defer tick.Stop()
	var last Confirmed
	var failed error
	ends := make(map[wire.ReplicaID]int64)
	for {
		now, err := r.confirmed(ctx, o, ends)
		if ctx.Err() == nil {
			failed = err
			if err == nil {
				last = now
			}
		}
		if err == nil && len(now.Missing) == 0 && time.Since(began) >= confirmSettles {
			return now, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return last, failed
		}
	}
}

// confirmed looks once at who is alive, and who of them has carried an order out. ends
// are, from look to look, when the leases end of those that were seen alive, in ms: who
// is missing before that has left, and whose lease has ended may go on somewhere.
func (r *Revoker) confirmed(ctx context.Context, o Order, ends map[wire.ReplicaID]int64) (c Confirmed, err error) {
	s := r.s
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	pipe := s.clients.directory.Pipeline()
	clock, abouts, names, said := pipe.Time(ctx), pipe.HGetAll(ctx, s.keys.about()), pipe.HGetAll(ctx, s.keys.replicas()), pipe.HGetAll(ctx, s.keys.order(o.id))
	if _, err := pipe.Exec(ctx); err != nil {
		return c, r.failed(err)
	}
	knows := make(map[wire.ReplicaID]bool) // the living, and whether they know of revocations
	for _, list := range []map[string]string{names.Val(), abouts.Val()} {
		for id, entry := range list {
			end, says, _ := strings.Cut(entry, " ")
			ms, err := strconv.ParseInt(end, 10, 64)
			if err != nil || ms < clock.Val().UnixMilli() || !wire.ValidID(id) {
				continue
			}
			var a about
			knows[wire.ReplicaID(id)] = json.Unmarshal([]byte(says), &a) == nil && a.Revokes
			ends[wire.ReplicaID(id)] = ms
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ends)) {
		_, alive := knows[id]
		_, has := said.Val()[string(id)]
		switch {
		case alive:
		case has || clock.Val().UnixMilli() < ends[id]:
			delete(ends, id)
		default:
			c.Silent = append(c.Silent, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(knows)) {
		links, has := said.Val()[string(id)]
		switch {
		case has:
			n, _ := strconv.Atoi(links)
			c.Links += n
			c.Replicas++
		case knows[id]:
			c.Missing = append(c.Missing, id)
		default:
			c.Older = append(c.Older, id)
		}
	}
	return c, nil
}

// failed says which Redis it is that does not do what it is asked, and the mend.
func (r *Revoker) failed(err error) error {
	text := "redis at " + r.s.address
	if need := denied(err, r.s.config.Prefix).need; need != "" {
		return fmt.Errorf("%s: %w: its user needs %s", text, err, need)
	}
	if mend := r.s.mend(err); mend != "" {
		return fmt.Errorf("%s: %w: %s", text, err, mend)
	}
	return fmt.Errorf("%s: %w", text, err)
}
