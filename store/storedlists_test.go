package store_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/redis/go-redis/v9"
)

// long is a list that stands alone, with any other targets in the place of its first.
func long(n int, others ...wire.Target) *wire.TargetList {
	targets := slices.Clone(others)
	for i := len(others); i < n; i++ {
		targets = append(targets, wire.Target{Name: fmt.Sprintf("node-exporter-%d", i), Scheme: "http", Port: 9100, Path: "/metrics",
			Labels: map[string]string{"env": "production", "job": "node", "rack": fmt.Sprint("r", i%40), "site": "berlin", "team": "infra"}})
	}
	return wire.NewTargetList(targets)
}

// declaring registers a link with a list.
func (r *replica) declaring(t *testing.T, agent string, list *wire.TargetList) wire.Entry {
	t.Helper()
	l := storetest.NewEntry("t", agent)
	l.Replica, l.List = r.id, list
	return r.take(t, l)
}

// allLists are the keys of target lists.
func allLists(server *storetest.RedisServer) []string {
	keys := strings.Fields(strings.Trim(server.Do("KEYS", "list:*"), "[]"))
	return slices.DeleteFunc(keys, func(key string) bool { return strings.HasSuffix(key, ":names") })
}

// lists are the keys of those that are to stay.
func lists(server *storetest.RedisServer) (keys []string) {
	for _, key := range allLists(server) {
		if ttl, err := strconv.Atoi(server.Do("PTTL", key)); err == nil && ttl > int(time.Hour.Milliseconds())/2 {
			keys = append(keys, key)
		}
	}
	return keys
}

// stands reports whether the list of an entry stands alone, and not in it.
func stands(server *storetest.RedisServer, r *replica, l wire.Entry) bool {
	details := server.Do("HGET", r.agentKey(l.AgentKey), "d:"+string(l.Link))
	return !strings.Contains(details, `"targets"`) && !strings.Contains(server.Do("HGET", r.agentKey(l.AgentKey), "lists"), string(l.Link)+" =")
}

// have reports whether a replica finds an agent's list.
func (r *replica) have(t *testing.T, l wire.Entry, list *wire.TargetList) func() bool {
	return func() bool {
		t.Helper()
		a, err := r.Lookup(t.Context(), l.AgentKey)
		return err == nil && a != nil && a.Last.List.Hash() == list.Hash() && len(a.Targets()) == list.Len()
	}
}

// prompt has what is looked for seconds later looked for at once.
var prompt = store.Pace{Look: 50 * time.Millisecond, Relist: time.Nanosecond}

// A list stands in Redis once, however many agents declare it, and goes when none does.
func TestAListStandsOnceWhoeverDeclaresIt(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	var all []*replica
	for range 2 {
		all = append(all, quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt))
	}
	list := long(30)
	var links []wire.Entry
	for i := range 20 {
		links = append(links, all[i%2].declaring(t, fmt.Sprint("sidecar-", i), list))
	}
	for _, l := range links {
		storetest.WaitUntil(t, within, "its list stands alone", func() bool { return stands(server, all[0], l) })
	}
	if keys := lists(server); len(keys) != 1 || !strings.HasSuffix(keys[0], list.Hash().String()) {
		t.Errorf("the lists are %v", keys)
	}
	listed, err := all[1].List(t.Context(), "t")
	if err != nil || len(listed) != len(links) {
		t.Fatalf("%d are listed, %v", len(listed), err)
	}
	for i := range listed {
		if listed[i].Last.List != listed[0].Last.List || listed[i].Last.List.Hash() != list.Hash() {
			t.Errorf("%s is listed with %v", listed[i].Agent, listed[i].Last.List.All())
		}
	}

	other := long(30, wire.Target{Name: "other"})
	for i, l := range links[:19] {
		all[i%2].Update(l.Link, other)
	}
	for _, l := range links[:19] {
		storetest.WaitUntil(t, within, "the other is found", all[1].have(t, l, other))
	}
	storetest.WaitUntil(t, within, "both are named", func() bool { return len(lists(server)) == 2 })
	last := links[19]
	all[1].Release(last.Link, wire.CauseDrained.String())
	storetest.WaitUntil(t, within, "it has departed", func() bool { return len(all[0].links(t, last.AgentKey)) == 0 })
	if !all[0].have(t, last, list)() {
		t.Error("who has departed has lost its targets")
	}
	if err := all[0].Forget(t.Context(), last.AgentKey); err != nil {
		t.Fatal(err)
	}
	storetest.WaitUntil(t, within, "what nobody names goes", func() bool { return len(lists(server)) == 1 })
	if !all[0].have(t, links[0], other)() {
		t.Error("what somebody names is gone")
	}
}

// counting counts what a replica writes to its directory, in bytes.
func counting(t *testing.T, server *storetest.RedisServer, r *replica) *atomic.Int64 {
	t.Helper()
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	written := new(atomic.Int64)
	options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return countedConn{conn, written}, err
	}
	r.UseDirectory(redis.NewClient(options))
	return written
}

type countedConn struct {
	net.Conn
	written *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// Of 10,000 targets one is replaced: what the directory is told, and what is read of it,
// is that.
func TestAChangedListIsToldAsWhatHasChanged(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	owner := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	written := counting(t, server, owner)
	seldom := prompt
	seldom.Look = time.Second // else what it looks for is counted, too
	owner.SetPace(seldom)
	run(t, owner)
	owner.awaitDirectory(t)
	other := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, seldom)
	l := owner.declaring(t, "a", long(10_000))
	storetest.WaitUntil(t, within, "it stands alone", func() bool { return stands(server, owner, l) })
	storetest.WaitUntil(t, within, "it is known elsewhere", other.have(t, l, long(10_000)))

	told, read := int64(1<<40), int64(1<<40)
	sent := func() int64 {
		_, after, _ := strings.Cut(server.Do("INFO", "stats"), "total_net_output_bytes:")
		n, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 5 { // in one of which nobody does anything else
		list := long(10_000, wire.Target{Name: fmt.Sprint("replaced-", i), Address: fmt.Sprintf("10.1.0.%d:9100", i), Path: "/metrics"})
		before, sentBefore := written.Load(), sent()
		owner.Update(l.Link, list)
		storetest.WaitUntil(t, within, "the change is known elsewhere", other.have(t, l, list))
		told, read = min(told, written.Load()-before), min(read, sent()-sentBefore)
	}
	t.Logf("%d bytes are told, and %d are read, of a list of %d", told, read, long(10_000).Bytes())
	if told > 2000 {
		t.Errorf("the directory is told %d bytes", told)
	}
	if read > 10_000 {
		t.Errorf("%d bytes are read for it", read)
	}

	var list *wire.TargetList
	for i := range 10 {
		list = long(10_000, wire.Target{Name: fmt.Sprint("again-", i)})
		owner.Update(l.Link, list)
		storetest.WaitUntil(t, within, "the change is there", owner.have(t, l, list))
	}
	before := sent()
	if !other.have(t, l, list)() {
		t.Error("who has missed some changes does not know the list")
	}
	if behind := sent() - before; behind > 20_000 {
		t.Errorf("%d bytes are read by who has missed some changes", behind)
	}
}

// What is lost of a list is written again, as soon as somebody looks for it, or its owner.
func TestAListThatIsLostIsWrittenAgain(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	owner := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, store.Pace{Look: 50 * time.Millisecond, Audit: 300 * time.Millisecond})
	other := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt)
	list := long(30)
	l := owner.declaring(t, "a", list)
	storetest.WaitUntil(t, within, "it stands alone", func() bool { return stands(server, owner, l) })
	key := "list:{t}:" + list.Hash().String()
	named := func() bool { return server.Do("ZSCORE", key+":names", "a") != "<nil>" && len(lists(server)) == 1 }
	for name, lose := range map[string]func(){
		"gone":           func() { server.Do("DEL", key) },
		"all of it":      func() { server.Do("DEL", key, key+":names") },
		"another type":   func() { server.Do("SET", key, "x") },
		"its name gone":  func() { server.Do("DEL", key+":names"); server.Do("PEXPIRE", key, "60000") },
		"names no names": func() { server.Do("SET", key+":names", "x") },
	} {
		lose()
		storetest.WaitUntil(t, within, name+": it is named again", func() bool { return server.Do("TYPE", key+":names") == "zset" && named() })
		storetest.WaitUntil(t, within, name+": it is there again", other.have(t, l, list))
	}
	for name, spoil := range map[string]func(){ // which only a reader can tell
		"cut off":        func() { server.Do("HSET", key, "list", "x") },
		"empty":          func() { server.Do("HSET", key, "list", "") },
		"without itself": func() { server.Do("HDEL", key, "list") },
		"another's text": func() {
			server.Do("HSET", key, "list", strings.Replace(server.Do("HGET", key, "list"), "berlin", "boston", 1))
		},
	} {
		spoil()
		fresh := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt)
		if fresh.have(t, l, list)() {
			t.Errorf("%s: it is taken for the list", name)
		}
		storetest.WaitUntil(t, within, name+": it is there again", fresh.have(t, l, list))
		if text := server.Do("HGET", key, "list"); text != string(list.Encode()) {
			t.Errorf("%s: it stands there as\n%s", name, text)
		}
	}
}

// All lists that are lost are asked for at once.
func TestManyListsThatAreLostAreBackSoon(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	owner := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt)
	var links []wire.Entry
	for i := range 40 {
		links = append(links, owner.declaring(t, fmt.Sprint("a", i), long(30, wire.Target{Name: fmt.Sprint("of-", i)})))
	}
	for _, l := range links {
		storetest.WaitUntil(t, within, "it stands alone", func() bool { return stands(server, owner, l) })
	}
	for _, key := range allLists(server) {
		server.Do("DEL", key)
	}
	fresh := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt)
	failed := 0
	for began := time.Now(); ; failed++ {
		listed, err := fresh.List(t.Context(), "t")
		if err == nil {
			if len(listed) != len(links) {
				t.Errorf("%d are listed", len(listed))
			}
			break
		}
		if time.Since(began) > within {
			t.Fatal(err)
		}
		storetest.WaitUntil(t, within, "some are back", func() bool { return len(allLists(server)) > 0 })
	}
	if len(allLists(server)) != len(links) {
		t.Errorf("%d lists are back", len(allLists(server)))
	}
	t.Logf("%d listings failed", failed)
}

// A departed agent's list is written back as its record would be: by who remembers it.
func TestTheListOfADepartedAgentIsWrittenBack(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	owner := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt)
	list := long(30)
	l := owner.declaring(t, "a", list)
	storetest.WaitUntil(t, within, "it stands alone", func() bool { return stands(server, owner, l) })
	owner.Release(l.Link, wire.CauseDrained.String())
	storetest.WaitUntil(t, within, "it is listed as departed", func() bool {
		listed, err := owner.List(t.Context(), "t")
		return err == nil && len(listed) == 1 && !listed[0].Connected()
	})
	key := allLists(server)[0]
	server.Do("DEL", key, key+":names", "generation:0") // as where one master of a Cluster is emptied
	storetest.WaitUntil(t, within, "it is back", func() bool { return len(lists(server)) == 1 })
	fresh := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt)
	if !fresh.have(t, l, list)() {
		t.Error("it has no targets any more")
	}
}

// A list that is not taken leaves nothing in Redis, nor does one whose answer was lost.
func TestAListThatIsRefusedIsNotKept(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	config := store.RedisConfig{URL: server.URL(), Keep: time.Hour, TenantLimits: store.TenantLimits{Bytes: 4 * 3 * long(30).Bytes()}}
	pace := prompt
	pace.Unnamed = time.Millisecond
	owner := quickly(t, config, pace)
	l := owner.declaring(t, "a", long(30))
	storetest.WaitUntil(t, within, "it stands alone", func() bool { return stands(server, owner, l) })
	only := func(what string) {
		t.Helper()
		storetest.WaitUntil(t, within, what+": its own list is there only", func() bool {
			all := allLists(server)
			return len(all) == 1 && strings.HasSuffix(all[0], l.List.Hash().String()) && server.Do("ZRANGE", all[0]+":names", 0, -1) == "[a]"
		})
	}
	for i := range 3 {
		late := storetest.NewEntry("t", "a") // which yields to who is there
		late.Replica, late.Yielding, late.List = owner.id, true, long(30, wire.Target{Name: fmt.Sprint("late-", i)})
		if _, err := owner.Register(t.Context(), late); err == nil {
			t.Fatal("it displaces who is there")
		}
		same := late
		same.Link, same.List = wire.NewID[wire.LinkID](), long(30)
		if _, err := owner.Register(t.Context(), same); err == nil {
			t.Fatal("it displaces who is there")
		}
	}
	only("taken")
	for i := range 3 {
		owner.Clear()
		owner.Update(l.Link, long(100, wire.Target{Name: fmt.Sprint("over-", i)}))
		owner.Await(t, within, storetest.OverLimit(l.Link))
	}
	only("over")
}

// Nobody takes an agent that is linked for one without targets, while its list is lost.
func TestAnAgentWhoseListIsLostIsNotWithoutTargets(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	owner := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt)
	other := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, prompt)
	list := long(30)
	l := owner.declaring(t, "a", list)
	storetest.WaitUntil(t, within, "it stands alone", func() bool { return stands(server, owner, l) })
	owner.stop() // its lease goes on for a while
	server.Do("DEL", "list:{t}:"+list.Hash().String())
	if a, err := other.Lookup(t.Context(), l.AgentKey); err == nil {
		t.Errorf("it is known as %+v", a)
	}
	if listed, err := other.List(t.Context(), "t"); err == nil {
		t.Errorf("it is listed as %+v", listed)
	}
	storetest.WaitUntil(t, within, "it has departed", func() bool {
		listed, err := other.List(t.Context(), "t")
		return err == nil && len(listed) == 1 && !listed[0].Connected()
	})
}

// What an agent has declared since stays when what it declared before is refused.
func TestWhatWasDeclaredLastIsNotRefusedForWhatWasBefore(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	owner := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour, TenantLimits: store.TenantLimits{Bytes: 6 * long(30).Bytes()}}, store.Pace{Look: 50 * time.Millisecond, Relist: 100 * time.Millisecond})
	last := long(4)
	for i := range 20 {
		l := owner.declaring(t, fmt.Sprint("a", i), long(5))
		began := time.Now()
		storetest.WaitUntil(t, within, "the next is written at once", func() bool { return time.Since(began) > 110*time.Millisecond })
		owner.Update(l.Link, long(60))
		owner.Update(l.Link, last)
		storetest.WaitUntil(t, within, "the last is there", owner.have(t, l, last))
		owner.Release(l.Link, wire.CauseAgentStopped.String())
	}
	if slices.ContainsFunc(owner.All(), func(event string) bool { return strings.HasPrefix(event, "over a limit") }) {
		t.Errorf("what happened: %v", owner.All())
	}
}

// However often an agent changes its list, what is superseded takes little.
func TestSupersededListsAreFew(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	owner := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, store.Pace{Look: 50 * time.Millisecond})
	l := owner.declaring(t, "a", long(30))
	storetest.WaitUntil(t, within, "it stands alone", func() bool { return stands(server, owner, l) })
	changes, most := 0, 0
	for began := time.Now(); time.Since(began) < 6*time.Second; changes++ {
		owner.Update(l.Link, long(30, wire.Target{Name: fmt.Sprint("replaced-", changes)}))
		most = max(most, len(allLists(server)))
	}
	storetest.WaitUntil(t, within, "the last of them is there", owner.have(t, l, long(30, wire.Target{Name: fmt.Sprint("replaced-", changes-1)})))
	if most < 3 || most > 6 {
		t.Errorf("%d lists stood there at a time, of %d", most, changes)
	}
}

// A replica of the version before finds a list in its entry and nowhere else: there it
// stands while one is alive, and for a time after.
func TestListsStandInTheirEntriesForEarlierVersions(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	pace := prompt
	pace.Audit, pace.TakeBack = 200*time.Millisecond, time.Second
	first := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, pace)
	l := first.declaring(t, "a", long(30))
	storetest.WaitUntil(t, within, "it stands alone", func() bool { return stands(server, first, l) })

	older, done := string(wire.NewID[wire.ReplicaID]()), make(chan struct{})
	var living atomic.Bool
	living.Store(true)
	go func() { // it renews its lease
		defer close(done)
		for ; living.Load(); time.Sleep(20 * time.Millisecond) {
			at := time.Now().Add(time.Second).UnixMilli()
			server.Do("HSET", "replicas", older, fmt.Sprint(at, " 0"))
			server.Do("HSET", "replicas:about", older, fmt.Sprint(at, ` {"seals":false,"keys":[],"lease":4503599627370496}`))
		}
	}()
	storetest.WaitUntil(t, within, "it stands in its entry", func() bool { return !stands(server, first, l) })
	second := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, pace)
	late := second.declaring(t, "b", long(40))
	for _, l := range []wire.Entry{l, late} {
		if stands(server, first, l) {
			t.Errorf("the list of %s does not stand in its entry", l.Agent)
		}
	}
	second.Update(late.Link, long(41))
	storetest.WaitUntil(t, within, "a changed one is found", first.have(t, late, long(41)))
	living.Store(false)
	<-done
	for _, l := range []wire.Entry{l, late} {
		storetest.WaitUntil(t, within, "it stands alone again", func() bool { return stands(server, first, l) })
	}
	storetest.WaitUntil(t, within, "it is found there", first.have(t, late, long(41)))
}
