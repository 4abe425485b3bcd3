package store

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// What is taken back stands in one hash, {prefix}revoked, which scripts/revoke.lua
// writes. Each replica looks once a second whether its stamp is another, reads it whole
// then, and joins it into what it knows, which it never forgets: so a Redis that was
// emptied, or thrown back by a fail-over, gets it all again from whoever is alive.

const (
	// ordersStay is for how long an order stands in the hash, and what replicas say of
	// having carried it out beside it: longer than anybody waits for that.
	ordersStay = time.Minute
	// liftedStays is for how long a revocation is kept that was lifted: a replica that was
	// apart from Redis for longer would have it hold again.
	liftedStays = 7 * 24 * time.Hour
	// maxOrders bounds those that a replica carries out at a time and tells of: each is a
	// command that somebody waits for.
	maxOrders = 256
	// revokedChunk bounds the revocations that one call writes back.
	revokedChunk = 500
)

// revocations are what this replica knows of them. Only the goroutine that looks at
// Redis touches them.
type revocations struct {
	set       *wire.Revocations // all that it ever read
	told      bool              // it has said what there is
	stamp     string            // of the hash as it was last read and joined; "" before
	again     bool              // it lacked something then: it is read again, whatever its stamp
	looked    time.Time
	denied    lastDenial
	confirmed map[string]bool // the orders that it has told to have carried out
	confirms  map[string]int  // those that it still has to, with how many links it closed
}

func (r *revocations) init() {
	r.set = wire.NewRevocations(nil)
	r.confirmed, r.confirms = make(map[string]bool), make(map[string]int)
}

// lookAtRevocations learns what is taken back, if that has changed, and has it done.
func (s *Redis) lookAtRevocations(ctx context.Context, events wire.StoreEvents) {
	r := &s.revoked
	if time.Since(r.looked) < s.timing.revoked-s.timing.look/2 {
		return
	}
	r.looked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	err := s.learnRevocations(ctx, events)
	if err == nil {
		err = s.confirmOrders(ctx)
	}
	if _, isNew := r.denied.news(err, s.config.Prefix); isNew {
		s.log.Warn("redis refuses the list of what is taken back", s.attrs(err)...)
	}
}

func (s *Redis) learnRevocations(ctx context.Context, events wire.StoreEvents) error {
	r := &s.revoked
	stamp, err := s.clients.directory.HGet(ctx, s.keys.revoked(), "stamp").Result()
	if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") { // which the first write mends
		return err
	}
	switch {
	case !r.told && stamp == "" && !s.health.settled(s.timing.rejoin):
		return nil // others may be about to write it back
	case r.told && stamp == r.stamp && !r.again && (stamp != "" || r.set.Len() == 0):
		return nil
	}
	read, err := readRevoked(ctx, s.clients.directory, s.keys)
	if err != nil {
		return err
	}
	was, theirs := r.set, wire.NewRevocations(read.all)
	lifted := time.Now().Add(-liftedStays).UnixMilli()
	r.set = r.set.Forget(lifted).Join(read.all).Forget(lifted) // first makes room
	var closed map[wire.RevokedSubject]int
	if news := r.set.Beyond(was); len(news) > 0 || !r.told {
		closed = events.Revoked(r.set)
		s.log.Info("what is taken back has changed", "revocations", r.set.Len(), "new", len(news), "links_closed", sumOf(closed))
	}
	r.told = true
	if not := r.carriedOut(read.orders, closed); len(not) > 0 && stamp != r.stamp {
		s.log.Error("what is taken back, or lifted, is not carried out here: the clocks of redis and of this machine are more than a day apart, or there is no room for it", "subjects", not)
	}
	more := r.set.Beyond(theirs)
	r.stamp, r.again = read.stamp, len(more) > 0
	if !r.again {
		return nil
	}
	s.log.Info("redis has lost what was taken back, and gets it again", "revocations", len(more))
	stamp, err = s.writeBack(ctx, more)
	if err == nil && stamp == read.stamp {
		r.again = false // it has no room for them
	}
	return err // and the next look sees whether it stays
}

// carriedOut notes the orders that are still to be confirmed, and returns whom those
// are for that are not carried out: the set has not what was read.
func (r *revocations) carriedOut(orders map[string]wire.Revocation, closed map[wire.RevokedSubject]int) (not []string) {
	for id := range r.confirmed {
		if _, stands := orders[id]; !stands {
			delete(r.confirmed, id)
		}
	}
	for id, of := range orders {
		if _, waits := r.confirms[id]; waits || r.confirmed[id] {
			continue
		}
		if !r.set.Has(of) {
			not = append(not, of.RevokedSubject.String())
			continue
		}
		r.confirms[id] = closed[of.RevokedSubject]
	}
	return not
}

// confirmOrders tells who has given an order that it is carried out here.
func (s *Redis) confirmOrders(ctx context.Context) error {
	r := &s.revoked
	for id, links := range r.confirms {
		pipe := s.clients.directory.Pipeline()
		pipe.HSet(ctx, s.keys.order(id), string(s.config.Replica), links)
		pipe.PExpire(ctx, s.keys.order(id), ordersStay)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		r.confirmed[id] = true
		delete(r.confirms, id)
	}
	return nil
}

// writeBack joins what this replica knows into what Redis has, and returns the stamp
// that it has then.
func (s *Redis) writeBack(ctx context.Context, more []wire.Revocation) (stamp string, err error) {
	for chunk := range slices.Chunk(more, revokedChunk) {
		var times []any
		for _, r := range chunk {
			times = append(times, r.RevokedSubject.String(), r.Before, r.Made, r.Lifted)
		}
		reply, err := s.joinRevoked(ctx, "", times)
		if err != nil {
			return "", err
		}
		if len(reply) == 0 {
			return "", errReply
		}
		stamp = reply[0]
	}
	return stamp, nil
}

// joinRevoked runs scripts/revoke.lua, and returns the stamp and what it says of each
// subject.
func (s *Redis) joinRevoked(ctx context.Context, order string, times []any) ([]string, error) {
	args := append([]any{string(wire.NewID[wire.ReplicaID]()), order, wire.MaxRevocations, wire.MaxRevokedPatterns, ordersStay.Milliseconds(), liftedStays.Milliseconds()}, times...)
	return runCall(ctx, s.clients.directory, call{script: s.scripts.revoke, key: s.keys.revoked(), args: args}).StringSlice()
}

// A readRevocations is the hash as it was read.
type readRevocations struct {
	stamp  string
	all    []wire.Revocation
	orders map[string]wire.Revocation // by their IDs: what stands of their subjects
}

// readRevoked reads the hash. What does not decode is not ours, or of a later version.
func readRevoked(ctx context.Context, client redis.UniversalClient, k keys) (read readRevocations, err error) {
	fields, err := client.HGetAll(ctx, k.revoked()).Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		err = nil
	}
	read.orders = make(map[string]wire.Revocation)
	for field, value := range fields {
		if field == "stamp" {
			read.stamp = value
			continue
		}
		if id, is := strings.CutPrefix(field, "order:"); is {
			_, of, _ := strings.Cut(value, " ")
			if subject, err := wire.ParseRevokedSubject(of); err == nil && wire.ValidID(id) && len(read.orders) < maxOrders {
				if r, err := parseRevoked(subject, fields[of]); err == nil {
					read.orders[id] = r
				}
			}
			continue
		}
		if subject, err := wire.ParseRevokedSubject(field); err == nil {
			if r, err := parseRevoked(subject, value); err == nil && !farAhead(r, time.Now()) {
				read.all = append(read.all, r)
			}
		}
	}
	return read, err
}

// parseRevoked reads the times of a subject.
func parseRevoked(subject wire.RevokedSubject, value string) (r wire.Revocation, err error) {
	r.RevokedSubject = subject
	times := strings.Split(value, " ")
	if len(times) != 3 {
		return r, errReply
	}
	for i, to := range []*int64{&r.Before, &r.Made, &r.Lifted} {
		if *to, err = strconv.ParseInt(times[i], 10, 64); err != nil {
			return r, errReply
		}
	}
	return r, nil
}

// aheadMost is how far the clocks of Redis and of who took something back may be ahead
// of this replica's.
const aheadMost = 24 * time.Hour

// farAhead reports whether nobody can have made the revocation yet: it could not be
// lifted, or not be made again, for as long as somebody liked who may write to Redis.
func farAhead(r wire.Revocation, now time.Time) bool {
	latest := now.Add(aheadMost)
	return r.Made > latest.UnixMilli() || r.Lifted > latest.UnixMilli() || r.Before > latest.Unix() && r.Kind != wire.RevokedToken
}

func sumOf(counts map[wire.RevokedSubject]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
