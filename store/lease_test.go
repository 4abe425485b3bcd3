package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// cut takes a replica's Redis away from it, and from nobody else: for all that others
// can see, it was stopped. It returns what gives it back.
func (m *mutable) cut(server *storetest.RedisServer) (join func()) {
	server.Do("ACL", "SETUSER", m.user, "off")
	server.Do("CLIENT", "KILL", "USER", m.user)
	return func() { server.Do("ACL", "SETUSER", m.user, "on") }
}

// brief are paces by which leases end soon.
func brief(lease time.Duration) store.Pace {
	return store.Pace{Lease: lease, Look: lease / 8, Rejoin: lease / 2}
}

// A replica that was stopped for longer than its lease lasts has lost its links to
// whoever came meanwhile, and gets back those that nobody took.
func TestAReplicaThatLostItsLeaseServesNoStaleClaim(t *testing.T) {
	t.Parallel()
	const lease = 800 * time.Millisecond
	server := storetest.StartRedis(t)
	stopped, other := newMutable(t, server, brief(lease)), newMutable(t, server, brief(lease))
	kept, lost := stopped.register(t, "t", "kept"), stopped.register(t, "t", "lost")
	line := server.Do("HGET", other.agentKey(kept.AgentKey), "links")

	join := stopped.cut(server)
	storetest.WaitUntil(t, within, "its links are gone", func() bool {
		agents, err := other.List(t.Context(), "t")
		return err == nil && len(agents) == 2 && !agents[0].Connected() && !agents[1].Connected()
	})
	young := other.register(t, "t", "lost")
	join()
	stopped.Await(t, within, storetest.LostTo(lost.Link, wire.ErrSuperseded))
	storetest.WaitUntil(t, within, "the other is back", other.linked(t, kept))
	if !other.linked(t, young)() {
		t.Error("the younger instance has lost its link")
	}
	if now := server.Do("HGET", other.agentKey(kept.AgentKey), "links"); now == line {
		t.Errorf("it stands on the lease that had ended: %s", now)
	}
}

// While nobody can renew, no lease ends: not one link is written again.
func TestLeasesOutliveARedisThatAnswersNobody(t *testing.T) {
	t.Parallel()
	const lease = 800 * time.Millisecond
	server := storetest.StartRedis(t)
	all := []*mutable{newMutable(t, server, brief(lease)), newMutable(t, server, brief(lease))}
	var links []wire.Entry
	for i, r := range all {
		links = append(links, r.register(t, "t", fmt.Sprint("a", i)))
	}
	leaseOf := func(l wire.Entry) string {
		return strings.Fields(server.Do("HGET", all[0].agentKey(l.AgentKey), "links"))[2]
	}
	before := []string{leaseOf(links[0]), leaseOf(links[1])}
	server.Pause()
	t.Cleanup(server.Resume)
	for _, r := range all {
		r.Await(t, within, storetest.BusIs(false))
		r.Clear()
	}
	from := time.Now()
	storetest.WaitUntil(t, within, "leases would have ended", func() bool { return time.Since(from) > 2*lease })
	server.Resume()
	storetest.WaitUntil(t, within, "it answers", func() bool {
		_, err := all[0].List(t.Context(), "t")
		return err == nil
	})
	for until := time.Now().Add(2 * lease); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		for i, l := range links {
			if agents, err := all[1-i].List(t.Context(), "t"); err == nil && (len(agents) != 2 || !agents[0].Connected() || !agents[1].Connected()) {
				t.Fatalf("%s is not linked", l.Agent)
			}
		}
	}
	for i, l := range links {
		if now := leaseOf(l); now != before[i] {
			t.Errorf("%s stands on lease %s, and stood on %s", l.Agent, now, before[i])
		}
	}
}

// Who was never counted by anybody alive is known to have gone all the same: a whole
// relay was killed and started anew.
func TestLinksOfReplicasThatNobodyKnewAreGone(t *testing.T) {
	t.Parallel()
	const lease = 800 * time.Millisecond
	server := storetest.StartRedis(t)
	dead := newMutable(t, server, brief(lease))
	pattern := storetest.NewEntry("t", "pattern")
	pattern.Yielding = true
	dead.take(t, pattern)
	dead.register(t, "t", "a")
	dead.cut(server)
	alone := newMutable(t, server, brief(lease))
	storetest.WaitUntil(t, within, "it is alone", func() bool {
		return alone.Alone(t.Context()) && server.Do("HLEN", alone.prefix+"replicas:about") == "1"
	})

	fresh := newMutable(t, server, brief(lease))
	again := storetest.NewEntry("t", "pattern")
	again.Yielding, again.Replica = true, fresh.id
	fresh.take(t, again) // the name is not taken any longer
	if agents, err := fresh.List(t.Context(), "t"); err != nil || len(agents) != 2 || agents[0].Connected() || agents[0].LastClose != wire.CauseLost.String() {
		t.Errorf("listed are %+v, %v", agents, err)
	}
}

// A link on a lease that Redis has not taken would be nobody's: it is not written.
func TestNoLinkIsWrittenWithoutALease(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := newMutable(t, server, store.Pace{Lease: 400 * time.Millisecond, Look: 50 * time.Millisecond})
	before := r.register(t, "t", "before")
	server.Do("ACL", "SETUSER", r.user, "resetkeys", "~agent:*", "~index:*", "~usage:*", "~generation:*", "~nudges:*")
	from := time.Now()
	storetest.WaitUntil(t, within, "the lease may have ended", func() bool { return time.Since(from) > 400*time.Millisecond })
	l := storetest.NewEntry("t", "a")
	if _, err := r.Register(t.Context(), l); err == nil {
		t.Error("registered without a lease")
	}
	if server.Do("EXISTS", r.agentKey(l.AgentKey)) != "0" {
		t.Error("it has a record")
	}
	server.Do("ACL", "SETUSER", r.user, "allkeys")
	r.Await(t, within, storetest.RegisteredAs(l.Link))
	storetest.WaitUntil(t, within, "both are linked", func() bool { return r.linked(t, l)() && r.linked(t, before)() })
}

// Who was believed to be gone, and is counted, is not.
func TestALeaseThatIsCountedAgainStands(t *testing.T) {
	t.Parallel()
	const lease = 800 * time.Millisecond
	server := storetest.StartRedis(t)
	other := newMutable(t, server, brief(lease))
	late := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	late.SetPace(brief(lease))
	// Its first call was made, and its answer lost.
	entry := fmt.Sprintf(`%d {"lease":%d}`, time.Now().Add(lease).UnixMilli(), late.LeaseID())
	server.Do("HSET", "replicas:about", string(late.id), entry)
	storetest.WaitUntil(t, within, "it is dropped", func() bool { return server.Do("HEXISTS", "replicas:about", string(late.id)) == "0" })
	for range 3 {
		other.Alone(t.Context()) // counts
	}
	run(t, late)
	late.awaitDirectory(t)
	l := late.register(t, "t", "a")
	storetest.WaitUntil(t, within, "it is linked", other.linked(t, l))
}

// The answer to whoever displaces a link may be lost: who asks again is told again.
func TestADisplacedLinkIsToldAgain(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	deaf := newMutable(t, server, store.Pace{Look: time.Hour}) // it does not look for nudges
	old := deaf.register(t, "t", "a")
	other := newMutable(t, server, store.Pace{})
	other.mute()
	young := other.register(t, "t", "a")
	nudges := deaf.prefix + "nudges:" + string(deaf.id)
	told := func() bool { return server.Do("HEXISTS", nudges, string(old.Link)) == "1" }
	storetest.WaitUntil(t, within, "it is told", told)
	server.Do("DEL", nudges)
	other.Update(young.Link, young.List)
	storetest.WaitUntil(t, within, "it is told again", told)
}

// Releases that are too many to wait for Redis take effect all the same.
func TestReleasesThatCannotWaitAreMadeGoodFor(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	r.MayWait(1)
	run(t, r)
	other := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	stays := r.register(t, "t", "stays")
	var gone []wire.Entry
	for i := range 3 {
		gone = append(gone, r.register(t, "t", fmt.Sprint("a", i)))
	}
	server.Pause()
	t.Cleanup(server.Resume)
	for _, l := range gone {
		r.Release(l.Link, wire.CauseDrained.String())
	}
	server.Resume()
	for _, l := range gone {
		storetest.WaitUntil(t, within, l.Agent+" is not linked", func() bool { return len(other.links(t, l.AgentKey)) == 0 })
	}
	storetest.WaitUntil(t, within, "the other is", other.linked(t, stays))
}

// What a dead replica's agents leave goes, as if they had said goodbye.
func TestAgentsOfADeadReplicaAreKeptForTheirTime(t *testing.T) {
	t.Parallel()
	const lease, keep = 800 * time.Millisecond, time.Hour
	server := storetest.StartRedis(t)
	dead, other := newMutable(t, server, brief(lease)), newMutable(t, server, brief(lease))
	l := dead.register(t, "t", "a")
	key := other.agentKey(l.AgentKey)
	if ttl := server.Do("PTTL", key); len(ttl) < len(fmt.Sprint(3*time.Hour.Milliseconds())) {
		t.Errorf("a linked agent's record goes in %s ms", ttl)
	}
	began := time.Now()
	dead.cut(server)
	storetest.WaitUntil(t, within, "its end is noted", func() bool {
		_, _ = other.List(t.Context(), "t")
		return server.Do("HEXISTS", key, "seen") == "1"
	})
	a, err := other.Lookup(t.Context(), l.AgentKey)
	if err != nil || a.Connected() || a.LastSeen.Before(began.Add(-lease)) || a.LastSeen.After(time.Now()) {
		t.Errorf("agent is %+v, %v", a, err)
	}
	if err := other.Forget(t.Context(), l.AgentKey); err != nil {
		t.Errorf("forget: %v", err)
	}
}

// Replicas of an earlier version let a record go that they have not renewed: while
// one is alive, the others look after theirs as often.
func TestRecordsAreKeptBesideAReplicaOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	s := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	s.SetPace(store.Pace{Renew: 100 * time.Millisecond, Look: 50 * time.Millisecond})
	r := run(t, s)
	r.awaitDirectory(t)
	l := r.register(t, "t", "a")
	newDouble(t, client(server), r, time.Minute)
	server.Do("PEXPIRE", r.agentKey(l.AgentKey), 60_000)
	storetest.WaitUntil(t, within, "it is kept", func() bool { return len(server.Do("PTTL", r.agentKey(l.AgentKey))) > len("60000") })
	server.Do("DEL", r.agentKey(l.AgentKey))
	storetest.WaitUntil(t, within, "it is back", r.linked(t, l))
}

// A lease of such a replica is a time, and ends by itself.
func TestALinkOfAnEarlierVersionEndsWithItsTime(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := replicas(t, 1, store.RedisConfig{URL: server.URL(), Keep: time.Hour})[0]
	l := r.register(t, "t", "a")
	key := r.agentKey(l.AgentKey)
	fields := strings.Fields(server.Do("HGET", key, "links"))
	for what, expiry := range map[string]time.Time{"live": time.Now().Add(time.Minute), "ended": time.Now().Add(-time.Second)} {
		fields[2], fields[3] = fmt.Sprint(expiry.UnixMilli()), fmt.Sprint(expiry.Add(-15*time.Second).UnixMilli())
		server.Do("HSET", key, "links", strings.Join(fields, " "))
		if a, err := r.Lookup(t.Context(), l.AgentKey); err != nil || a.Connected() != (what == "live") {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
}
