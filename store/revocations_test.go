package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// revokedWithin is how soon all replicas are to know what is taken back.
const revokedWithin = 5 * time.Second

var (
	edges   = wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: "t", Name: "edge-*"}
	core    = wire.RevokedSubject{Kind: wire.RevokedAgent, Tenant: "t", Name: "core"}
	scraper = wire.RevokedSubject{Kind: wire.RevokedScraper, Tenant: "t", Name: "p"}
)

// revoker is who takes back what replicas of that Redis are to refuse.
func revoker(t *testing.T, config store.RedisConfig) *store.Revoker {
	t.Helper()
	r, err := store.NewRevoker(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func revoke(t *testing.T, r *store.Revoker, subject wire.RevokedSubject, before int64) store.Order {
	t.Helper()
	o, err := r.Revoke(t.Context(), subject, before)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// confirmed waits for an order.
func confirmed(t *testing.T, r *store.Revoker, o store.Order) store.Confirmed {
	t.Helper()
	c, err := r.Await(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// takesBack reports whether the replica has been told that what was issued to the
// subject then is dead.
func (r *replica) takesBack(s wire.RevokedSubject, first int64) bool {
	_, dead := r.Revoked().Dead(s.Kind, s.Tenant, s.Name, s.Name, first)
	return dead
}

// allTakeBack waits until all of them have been told so.
func allTakeBack(t *testing.T, all []*replica, s wire.RevokedSubject, first int64) {
	t.Helper()
	storetest.WaitUntil(t, revokedWithin, "all replicas know that "+s.Name+" is taken back", func() bool {
		return !slices.ContainsFunc(all, func(r *replica) bool { return !r.takesBack(s, first) })
	})
}

func TestAllReplicasCarryOutWhatIsRevokedAndSaySo(t *testing.T) {
	t.Parallel()
	config := store.RedisConfig{URL: storetest.StartRedis(t).URL(), Keep: time.Hour}
	var all []*replica
	for links := range 3 {
		r := run(t, open(t, config))
		r.Closes = map[wire.RevokedSubject]int{edges: links, core: 100}
		all = append(all, r)
	}
	for _, r := range all {
		r.awaitDirectory(t)
	}
	by := revoker(t, config)
	start := time.Now()
	c := confirmed(t, by, revoke(t, by, edges, 100))
	if c.Replicas != 3 || c.Links != 0+1+2 || c.Missing != nil || c.Older != nil || c.Silent != nil || time.Since(start) > revokedWithin {
		t.Errorf("%+v after %v", c, time.Since(start))
	}
	for _, r := range all {
		if !r.takesBack(edges, 99) || r.takesBack(edges, 100) {
			t.Error("another time is taken for it")
		}
	}
	if o := revoke(t, by, edges, 50); o.Before != 100 {
		t.Errorf("an earlier time has replaced the later: %d", o.Before)
	}
	lifted, err := by.Unrevoke(t.Context(), edges)
	if err != nil {
		t.Fatal(err)
	}
	if c := confirmed(t, by, lifted); c.Replicas != 3 {
		t.Errorf("%+v", c)
	}
	for _, r := range all {
		if r.takesBack(edges, 0) {
			t.Error("it holds though it was lifted")
		}
	}
	if _, err := by.Unrevoke(t.Context(), edges); !errors.Is(err, store.ErrNotRevoked) {
		t.Errorf("lifted twice: %v", err)
	}
	if _, err := by.Unrevoke(t.Context(), core); !errors.Is(err, store.ErrNotRevoked) {
		t.Errorf("lifted what never was: %v", err)
	}
	revoke(t, by, edges, 100)
	allTakeBack(t, all, edges, 99)
}

// Two orders at a time are each told of, with the links that they have closed.
func TestOrdersAreCountedEachForItself(t *testing.T) {
	t.Parallel()
	config := store.RedisConfig{URL: storetest.StartRedis(t).URL(), Keep: time.Hour}
	r := run(t, open(t, config))
	r.Closes = map[wire.RevokedSubject]int{edges: 2, core: 5}
	r.awaitDirectory(t)
	by := revoker(t, config)
	first, second := revoke(t, by, edges, 1), revoke(t, by, core, 1)
	if a, b := confirmed(t, by, first), confirmed(t, by, second); a.Links != 2 || b.Links != 5 {
		t.Errorf("%+v and %+v", a, b)
	}
}

// What was taken back stays so whatever becomes of Redis, and comes back into it by
// whoever is alive.
func TestWhatIsRevokedOutlivesRedis(t *testing.T) {
	for name, lose := range map[string]func(*storetest.RedisServer){
		"emptied":   func(s *storetest.RedisServer) { s.Do("FLUSHALL") },
		"restarted": func(s *storetest.RedisServer) { s.Kill(); s.Start() },
		"thrown back": func(s *storetest.RedisServer) {
			s.Do("HSET", "revoked", "agent:t:core", "1 1 0", "scraper:t:p", "100 1 0", "stamp", "older")
			s.Do("HDEL", "revoked", edges.String())
		},
		"overwritten": func(s *storetest.RedisServer) { s.Do("DEL", "revoked"); s.Do("SET", "revoked", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := storetest.StartRedis(t)
			config := store.RedisConfig{URL: server.URL(), Keep: time.Hour}
			all := replicas(t, 2, config)
			by := revoker(t, config)
			revoke(t, by, edges, 100)
			revoke(t, by, core, 100)
			allTakeBack(t, all, core, 99)
			allTakeBack(t, all, edges, 99)
			lose(server)
			storetest.WaitUntil(t, within, "Redis has it again", func() bool {
				list, err := by.List(t.Context())
				return err == nil && slices.ContainsFunc(list, func(r wire.Revocation) bool { return r.RevokedSubject == edges && r.Before == 100 }) &&
					slices.ContainsFunc(list, func(r wire.Revocation) bool { return r.RevokedSubject == core && r.Before == 100 })
			})
			allTakeBack(t, append(all, run(t, open(t, config))), edges, 99)
			allTakeBack(t, all, core, 99)
		})
	}
}

// What Redis loses once more, before anybody has seen that it had it again, it gets
// again, too: an empty one, and one that is thrown back to the same state, look as they
// did then.
func TestWhatIsRevokedOutlivesARedisThatIsLostTwice(t *testing.T) {
	for name, lose := range map[string]func(*storetest.RedisServer){
		"emptied": func(s *storetest.RedisServer) { s.Do("FLUSHALL") },
		"thrown back": func(s *storetest.RedisServer) {
			s.Do("HSET", "revoked", "stamp", "older")
			s.Do("HDEL", "revoked", edges.String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := storetest.StartRedis(t)
			config := store.RedisConfig{URL: server.URL(), Keep: time.Hour}
			r, by := replicas(t, 1, config), revoker(t, config)
			revoke(t, by, core, 100)
			revoke(t, by, edges, 100)
			allTakeBack(t, r, edges, 99)
			for _, often := range []string{"once", "twice"} {
				lose(server)
				storetest.WaitUntil(t, within, "Redis has it again that was lost "+often, func() bool {
					list, err := by.List(t.Context())
					return err == nil && slices.ContainsFunc(list, func(r wire.Revocation) bool { return r.RevokedSubject == edges && r.Before == 100 })
				})
			}
		})
	}
}

func TestAStoppedRedisTakesNothingOfItAway(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Keep: time.Hour}
	r := replicas(t, 1, config)[0]
	by := revoker(t, config)
	revoke(t, by, edges, 100)
	allTakeBack(t, []*replica{r}, edges, 99)
	server.Kill()
	r.Await(t, within, storetest.BusIs(false))
	if !r.takesBack(edges, 99) {
		t.Error("it is forgotten")
	}
	_, err := by.Revoke(t.Context(), core, 1)
	if err == nil || !strings.Contains(err.Error(), "redis at "+server.Addr()) || !strings.Contains(err.Error(), "nothing listens there: check the host and the port in FARSCRAPE_REDIS_URL") {
		t.Errorf("%v", err)
	}
	stranger := run(t, open(t, config))
	stranger.Await(t, within, storetest.BusIs(false))
	if stranger.Revoked() != nil {
		t.Error("who never saw the list says that it knows it")
	}
}

// An empty list is one, once it is clear that nobody is about to write more of it.
func TestAReplicaSaysWhenItKnowsThatNothingIsRevoked(t *testing.T) {
	t.Parallel()
	config := store.RedisConfig{URL: storetest.StartRedis(t).URL(), Keep: time.Hour}
	start := time.Now()
	r := replicas(t, 1, config)[0]
	storetest.WaitUntil(t, within, "it is known", func() bool { return r.Revoked() != nil })
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("in an emptied Redis it is known after %v", took)
	}
	start = time.Now()
	next := replicas(t, 1, config)[0]
	storetest.WaitUntil(t, within, "it is known", func() bool { return next.Revoked() != nil })
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("in a Redis that stands it is known after %v", took)
	}
}

// Who has not confirmed is named: a replica that hangs, and one that is too old to know
// of revocations, and one whose lease has ended meanwhile. One that has left is not.
func TestWhoHasNotConfirmedIsNamed(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Keep: time.Hour}
	replicas(t, 1, config)
	by := revoker(t, config)
	hangs, old, dies, leaves := wire.NewID[wire.ReplicaID](), wire.NewID[wire.ReplicaID](), wire.NewID[wire.ReplicaID](), wire.NewID[wire.ReplicaID]()
	until := func(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }
	server.Do("HSET", "replicas:about", string(hangs), fmt.Sprintf(`%d {"revokes":true}`, until(time.Minute)))
	server.Do("HSET", "replicas:about", string(dies), fmt.Sprintf(`%d {"revokes":true}`, until(4*time.Second)))
	server.Do("HSET", "replicas", string(old), fmt.Sprintf("%d 7", until(time.Minute)))
	server.Do("HSET", "replicas:about", string(leaves), fmt.Sprintf(`%d {"revokes":true}`, until(time.Minute)))
	order := revoke(t, by, edges, 1)
	time.AfterFunc(time.Second, func() { server.Do("HDEL", "replicas:about", string(leaves)) })
	c := confirmed(t, by, order)
	if c.Replicas != 1 || !slices.Equal(c.Missing, []wire.ReplicaID{hangs}) || !slices.Equal(c.Older, []wire.ReplicaID{old}) || !slices.Equal(c.Silent, []wire.ReplicaID{dies}) {
		t.Errorf("%+v; %s hangs, %s is old, %s dies", c, hangs, old, dies)
	}
}

// Whoever may write to Redis cannot put a subject beyond all who take back and lift.
func TestRevocationsFromFarAheadAreNobodys(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Keep: time.Hour}
	r, by := replicas(t, 1, config)[0], revoker(t, config)
	const never = "9007199254740991"
	server.Do("HSET", "revoked", edges.String(), never+" "+never+" 0", core.String(), "1 1 "+never, scraper.String(), "1 "+never+" 0", "stamp", "x")
	confirmed(t, by, revoke(t, by, core, 100))
	if r.takesBack(edges, 0) || r.takesBack(scraper, 0) || !r.takesBack(core, 99) || r.takesBack(core, 100) {
		t.Errorf("known are %+v", r.Revoked().All())
	}
	if _, err := by.Unrevoke(t.Context(), scraper); !errors.Is(err, store.ErrNotRevoked) {
		t.Errorf("lift what does not hold: %v", err)
	}
	confirmed(t, by, revoke(t, by, edges, 100))
	if !r.takesBack(edges, 99) || r.takesBack(edges, 100) {
		t.Errorf("known are %+v", r.Revoked().All())
	}
}

// By default what was issued so far is taken back, by the clock that all share: Redis's,
// and not that of who gives the order.
func TestRedisSaysUntilWhenWhatWasIssuedIsTakenBack(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	by := revoker(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	earliest := time.Now().Unix() + 1 // of this machine, as the server is
	if o := revoke(t, by, edges, 0); o.Before < earliest || o.Before > time.Now().Unix()+1 {
		t.Errorf("before %d; the next second was %d", o.Before, earliest)
	}
	_, err := by.Revoke(t.Context(), core, time.Now().Add(48*time.Hour).Unix())
	if err == nil || !strings.Contains(err.Error(), "more than a day from now") || !strings.Contains(err.Error(), "nothing is taken back") {
		t.Errorf("far ahead: %v", err)
	}
	if all, err := by.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}

// A replica does not say of an order that it is carried out while it takes what stands
// for nobody's, as it does where its clock is days behind.
func TestWhatAReplicaDoesNotTakeItDoesNotConfirm(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Keep: time.Hour}
	r, by := replicas(t, 1, config)[0], revoker(t, config)
	ahead, now := time.Now().Add(48*time.Hour), time.Now().UnixMilli()
	order := string(wire.NewID[wire.ReplicaID]())
	server.Do("HSET", "revoked", edges.String(), fmt.Sprintf("%d %d 0", ahead.Unix(), now), "order:"+order, fmt.Sprintf("%d %s", now, edges), "stamp", "x")
	confirmed(t, by, revoke(t, by, core, 100)) // and so it has read what stands
	if said := server.Do("HLEN", "revoked:order:"+order); said != "0" || r.takesBack(edges, 0) {
		t.Errorf("%s replicas have confirmed; edges are taken back: %t", said, r.takesBack(edges, 0))
	}
}

// Where there was no room until a lifted one was forgotten, what has taken its place is
// learnt.
func TestWhatTakesTheLastPlaceIsLearnt(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Keep: time.Hour}
	args := []any{"HSET", "revoked", "stamp", "x"}
	for i := range wire.MaxRevokedPatterns - 1 {
		args = append(args, fmt.Sprintf("agent:t:many-%d-*", i), "1 1 0")
	}
	lifted := time.Now().Add(5*time.Second - 7*24*time.Hour) // which is kept for 5 s from now
	server.Do(append(args, "agent:t:lifted-*", fmt.Sprintf("1 1 %d", lifted.UnixMilli()))...)
	r, by := replicas(t, 1, config)[0], revoker(t, config)
	storetest.WaitUntil(t, within, "all of them are known", func() bool { return r.Revoked().Len() == wire.MaxRevokedPatterns })
	var order store.Order
	storetest.WaitUntil(t, within, "the lifted one makes room", func() bool {
		o, err := by.Revoke(t.Context(), edges, 100)
		order = o
		return err == nil
	})
	if c := confirmed(t, by, order); c.Replicas != 1 || !r.takesBack(edges, 99) {
		t.Errorf("%+v; it is taken back: %t", c, r.takesBack(edges, 99))
	}
}

// One more than there may be is refused by name, and those that there are can still be
// made and lifted.
func TestRevocationsAreBounded(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Keep: time.Hour}
	by := revoker(t, config)
	revoke(t, by, scraper, 1)
	fill := func(kind string, n int) {
		t.Helper()
		args := []any{"HSET", "revoked"}
		for i := range n {
			args = append(args, fmt.Sprintf(kind, i), "1 1 0")
		}
		server.Do(args...)
	}
	fill("agent:t:many-%d-*", wire.MaxRevokedPatterns)
	if _, err := by.Revoke(t.Context(), edges, 1); err == nil || !strings.Contains(err.Error(), "no room for another revocation: there may be 10000 in all") {
		t.Errorf("a pattern too many: %v", err)
	}
	revoke(t, by, core, 1)
	fill("agent:t:many-%d", wire.MaxRevocations)
	if _, err := by.Revoke(t.Context(), wire.RevokedSubject{Kind: wire.RevokedScraper, Tenant: "t", Name: "q"}, 1); err == nil {
		t.Error("one too many is taken")
	}
	server.Do("HSET", "revoked", "agent:t:many-1", fmt.Sprintf("1 1 %d", time.Now().Add(-8*24*time.Hour).UnixMilli()))
	revoke(t, by, core, 2)
	if server.Do("HGET", "revoked", "agent:t:many-1") != "<nil>" {
		t.Error("what was lifted a week ago is kept")
	}
	if _, err := by.Unrevoke(t.Context(), scraper); err != nil {
		t.Errorf("lift: %v", err)
	}
	r := replicas(t, 1, config)[0]
	storetest.WaitUntil(t, within, "what there is room for is known", func() bool { return r.Revoked().Len() == wire.MaxRevocations })
}
