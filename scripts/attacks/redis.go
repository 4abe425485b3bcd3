package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/farscrape/farscrape/relay/wire"
)

// redisAttacks are of whoever may write to Redis and has no key, or of a hand that
// slips there. Where it says so a slip costs what only Redis knows, until its
// owner writes it anew.
func redisAttacks() []attack {
	publishes := func(name, sent string, with func(t *trial, to, from wire.ReplicaID, publish func([]byte))) attack {
		return attack{name: "bus-" + name, sent: sent, expected: "200 victim/t; over the bus 200 victim/t", run: func(t *trial) string {
			c := t.redis()
			ids := t.replicaIDs(c)
			for i, to := range ids {
				with(t, to, ids[1-i], func(b []byte) { t.Must(c.Publish(t.Ctx, "farscrape:inbox:"+string(to), b).Err()) })
			}
			return t.both("victim", small)
		}}
	}
	envelopes := func(name, sent string, e wire.Envelope) attack {
		return publishes(name, sent, func(_ *trial, _, from wire.ReplicaID, publish func([]byte)) {
			e.From = from
			publish(e.Append(nil))
		})
	}
	writes := func(name, sent, expected string, with func(t *trial, c *redis.Client) string) attack {
		return attack{name: "redis-" + name, sent: sent, expected: expected, breaks: true, run: func(t *trial) string { return with(t, t.redis()) }}
	}
	listed := func(what string) string { return what + "; /sd 200 list" }
	return []attack{
		envelopes("stream-2-64", "an envelope of the stream 2⁶⁴−1 in each replica's name", wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1<<64 - 1, Seq: 1<<64 - 1}),
		envelopes("stream-ahead", "an envelope of a stream a little ahead", wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1 << 62, Seq: 2}),
		envelopes("frames-garbage", "an envelope whose frames are none", wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1 << 62, Seq: 1, Frames: []byte("hello")}),
		envelopes("kind-9", "an envelope of an unknown kind", wire.Envelope{Kind: 9}),
		envelopes("probe", "another's probe", wire.Envelope{Kind: wire.EnvelopeProbe, Seq: 1<<64 - 1}),
		envelopes("nudge", "a nudge with a thousand links that are not", wire.Envelope{Kind: wire.EnvelopeNudge, Frames: []byte(strings.Repeat("0123456789abcdef", 1000))}),
		publishes("garbage", "what is no envelope", func(_ *trial, _, _ wire.ReplicaID, publish func([]byte)) { publish([]byte("hello")) }),
		publishes("truncated", "an envelope that is shorter than it says", func(_ *trial, _, from wire.ReplicaID, publish func([]byte)) {
			e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1 << 62, Seq: 1, From: from, Frames: make([]byte, 100)}
			publish(e.Append(nil)[:60])
		}),
		publishes("of-10MB", "10 MB of it", func(_ *trial, _, _ wire.ReplicaID, publish func([]byte)) { publish(make([]byte, 10<<20)) }),
		publishes("strangers", "envelopes of 5,000 replicas that are not", func(_ *trial, _, _ wire.ReplicaID, publish func([]byte)) {
			for range 5000 {
				e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: 1, Seq: 2, From: wire.NewID[wire.ReplicaID]()}
				publish(e.Append(nil))
			}
		}),
		{name: "bus-request", sent: "a REQUEST for an agent, in a replica's name, by one without the key", expected: "the target was asked 0 times", run: func(t *trial) string { return t.forgeRequest(wire.DefaultTenant) }},
		{name: "bus-request-of-tenant", sent: "the same, of another tenant", expected: "the target was asked 0 times", run: func(t *trial) string { return t.forgeRequest(otherTenant) }},
		{name: "bus-replayed", sent: "each envelope of a second once more, to its receiver and to the other", expected: "200 victim/t; over the bus 200 victim/t", run: replay},
		writes("wrong-type", "a string where an agent's record is", listed("named in the log"), func(t *trial, c *redis.Client) string {
			t.Must(c.Set(t.Ctx, "farscrape:agent:{default/wrong}", "x", 0).Err())
			t.Must(c.ZAdd(t.Ctx, "farscrape:index:default", redis.Z{Score: float64(time.Now().UnixMilli()), Member: "wrong"}).Err())
			t.Wait(listings)
			seen := t.get("/sd").String()
			return t.says("default/wrong") + "; /sd " + seen
		}),
		writes("wrong-type-of-linked", "a string where a linked agent's record was", "mended within 10 s; over the bus 200 victim/t", func(t *trial, c *redis.Client) string {
			const key = "farscrape:agent:{default/victim}"
			t.Must(c.Set(t.Ctx, key, "x", 0).Err())
			if _, ok := t.Poll(10*time.Second, func() bool { return c.Type(t.Ctx, key).Val() == "hash" }); !ok {
				return "not mended"
			}
			return "mended within 10 s; over the bus " + t.scrape(1, "victim", small).String()
		}),
		writes("record-target", "a record with the target ../sd, a label __x and an address with spaces", "named in the log; /sd 200 list without it", func(t *trial, c *redis.Client) string {
			t.record(c, "forged", []wire.Target{{Name: "../sd", Scheme: "http", Path: "/", Port: 1}, {Name: "a", Labels: map[string]string{"__x": "y"}}, {Name: "b", Address: `[::1%x "y/..]:80`}})
			t.Wait(listings)
			o := t.get("/sd")
			with := " without it"
			if strings.Contains(string(o.body), "../sd") || strings.Contains(string(o.body), `"forged"`) {
				with = " with it"
			}
			return t.says("default/forged") + "; /sd " + o.String() + with
		}),
		writes("record-garbage", "a record of 10 MB, a hundred thousand lines that are none", "/sd 200 list", func(t *trial, c *redis.Client) string {
			t.Must(c.HSet(t.Ctx, "farscrape:agent:{default/forged}", "links", strings.Repeat(strings.Repeat("x", 100)+"\n", 100_000)).Err())
			t.index(c, "forged")
			return "/sd " + t.get("/sd").String()
		}),
		{name: "redis-index-wrong-type", sent: "a string where the tenant's index was: until it is mended nobody knows the whole list", expected: "mended within 10 s", breaks: true, bound: bound{pages: true}, run: func(t *trial) string {
			c := t.redis()
			t.Must(c.Set(t.Ctx, "farscrape:index:default", "x", 0).Err())
			if _, ok := t.Poll(10*time.Second, func() bool { return c.Type(t.Ctx, "farscrape:index:default").Val() == "zset" }); !ok {
				return "not mended"
			}
			return "mended within 10 s"
		}},
		writes("index-of-50000", "50,000 names in the index that have no record", "/sd 200 list within 2 s", func(t *trial, c *redis.Client) string {
			for i := range 50 {
				var all []redis.Z
				for j := range 1000 {
					all = append(all, redis.Z{Score: 1, Member: fmt.Sprintf("ghost-%d-%d", i, j)})
				}
				t.Must(c.ZAdd(t.Ctx, "farscrape:index:default", all...).Err())
			}
			o := t.get("/sd", seconds+"10")
			t.Note("/sd took %.0f ms", float64(o.took.Microseconds())/1000)
			if o.took > 2*time.Second {
				return "/sd " + o.String() + " late"
			}
			return "/sd " + o.String() + " within 2 s"
		}),
		writes("replicas-wrong-type", "a string where the living replicas are", "mended within 10 s", func(t *trial, c *redis.Client) string {
			t.Must(c.Set(t.Ctx, "farscrape:replicas", "x", 0).Err())
			if _, ok := t.Poll(10*time.Second, func() bool { return c.Type(t.Ctx, "farscrape:replicas").Val() == "hash" }); !ok {
				return "not mended"
			}
			return "mended within 10 s"
		}),
		writes("replicas-garbage", "5,000 living replicas that are none", "200 victim/t; over the bus 200 victim/t", func(t *trial, c *redis.Client) string {
			for range 5000 {
				t.Must(c.HSet(t.Ctx, "farscrape:replicas", string(wire.NewID[wire.ReplicaID]()), "9999999999999 100000").Err())
			}
			t.Wait(3 * time.Second)
			return t.both("victim", small)
		}),
		writes("generation-garbage", "garbage where the generation is", "200 victim/t; over the bus 200 victim/t", func(t *trial, c *redis.Client) string {
			for i := range 16 {
				t.Must(c.Set(t.Ctx, fmt.Sprintf("farscrape:generation:%d", i), "x", 0).Err())
			}
			t.Wait(3 * time.Second)
			return t.both("victim", small)
		}),
		{name: "redis-flushed", sent: "FLUSHALL", expected: "all listed again within 3 s", breaks: true, bound: bound{pages: true}, run: func(t *trial) string {
			t.redis().FlushAll(t.Ctx)
			if _, ok := t.Poll(3*time.Second, func() bool { return t.get("/sd?agent=victim").String() == "200 list" }); !ok {
				return "not listed: " + t.get("/sd?agent=victim").String()
			}
			return "all listed again within 3 s"
		}},
		{name: "redis-hangs-open", sent: "Redis hangs for 6 s, where scrapers need no token and there is no PUBLIC_URL", expected: "20 × 200 victim/t", plan: plan{split: true, noAuth: true, apart: true}, breaks: true, bound: bound{pages: true}, run: func(t *trial) string {
			resume := t.pauseRedis()
			seen := t.many(20, 1, func(int) string {
				t.Wait(300 * time.Millisecond)
				return t.scrape(0, "victim", small).String()
			})
			resume()
			return seen
		}},
		{name: "redis-out-of-memory", sent: "Redis takes no writes for 19 s", expected: "named in the log; 200 victim/t; over the bus 200 victim/t", breaks: true, run: func(t *trial) string {
			c := t.redis()
			t.Must(c.ConfigSet(t.Ctx, "maxmemory", "1").Err())
			t.Wait(19 * time.Second)
			seen := t.says("OOM") + "; " + t.both("victim", small)
			t.Must(c.ConfigSet(t.Ctx, "maxmemory", "0").Err())
			return seen
		}},
	}
}

// listings is longer than a replica may go without looking at a tenant's agents
// anew while somebody asks for them.
const listings = 2500 * time.Millisecond

// redis is a client of the stack's server.
func (t *trial) redis() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: t.stack.redis.Addr(), Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// pauseRedis has Redis hang until resume is called, or the trial ends.
func (t *trial) pauseRedis() (resume func()) {
	t.stack.redis.Pause()
	resume = sync.OnceFunc(t.stack.redis.Resume)
	t.Cleanup(resume)
	return resume
}

// replicaIDs are both replicas', as anybody reads them who may read Redis.
func (t *trial) replicaIDs(c *redis.Client) []wire.ReplicaID {
	var all []wire.ReplicaID
	for id := range c.HGetAll(t.Ctx, "farscrape:replicas").Val() {
		all = append(all, wire.ReplicaID(id))
	}
	if len(all) != 2 {
		t.Fatalf("%d replicas in Redis", len(all))
	}
	return all
}

// says is whether a replica has logged a line with that text since the attack
// began.
func (t *trial) says(text string) string {
	for _, r := range t.stack.Replicas {
		if len(r.Said(t.began, text)) > 0 {
			return "named in the log"
		}
	}
	return "not in the log"
}

func (t *trial) index(c *redis.Client, agent string) {
	t.Must(c.ZAdd(t.Ctx, "farscrape:index:default", redis.Z{Score: float64(time.Now().UnixMilli()), Member: agent}).Err())
}

// record writes one as a replica does, with targets that no agent may have.
func (t *trial) record(c *redis.Client, agent string, targets []wire.Target) {
	now := time.Now().UnixMilli()
	link := wire.NewID[wire.LinkID]()
	details, err := json.Marshal(struct {
		wire.Entry
		Targets []wire.Target `json:"targets"`
	}{wire.Entry{AgentKey: wire.AgentKey{Tenant: wire.DefaultTenant, Agent: agent}}, targets})
	t.Must(err)
	t.Must(c.HSet(t.Ctx, "farscrape:agent:{default/"+agent+"}",
		"links", fmt.Sprintf("%s 1 %d %d 0 %s %s", link, now+60_000, now, wire.NewID[wire.InstanceID](), wire.NewID[wire.ReplicaID]()),
		"d:"+string(link), details).Err())
	t.index(c, agent)
}

// forgeRequest takes from Redis all that a REQUEST needs, and sends it to the
// replica that holds the agent, in the other's name.
func (t *trial) forgeRequest(tenant string) string {
	c := t.redis()
	fields := c.HGetAll(t.Ctx, "farscrape:agent:{default/mate}").Val()
	line := strings.Fields(fields["links"])
	if len(line) < 7 {
		return "no record: " + fields["links"]
	}
	owner := wire.ReplicaID(line[6])
	for _, from := range t.replicaIDs(c) {
		if from == owner {
			continue
		}
		q := wire.Request{Remaining: 5 * time.Second, Credit: 1 << 14, Link: wire.LinkID(line[0]), Tenant: tenant, Agent: "mate", Target: subtree, Rest: "forged"}
		f := wire.Frame{Type: wire.TypeRequest, Attempt: 1, Scrape: wire.NewScrapeID(), Payload: q.Append(nil)}
		for seq := range uint64(3) {
			e := wire.Envelope{Kind: wire.EnvelopeFrames, Stream: uint64(time.Now().UnixNano()) + seq, Seq: 1, From: from, Frames: f.Append(nil)}
			t.Must(c.Publish(t.Ctx, "farscrape:inbox:"+string(owner), e.Append(nil)).Err())
		}
	}
	t.Wait(time.Second)
	asked := 0
	if t.stack.targets.got("mate", subtree).URL != nil {
		asked = 1
	}
	return fmt.Sprintf("the target was asked %d times", asked)
}

// replay listens on all inboxes for a second, and says all of it again.
func replay(t *trial) string {
	c := t.redis()
	inboxes := c.PSubscribe(t.Ctx, "farscrape:inbox:*")
	type heard struct{ channel, payload string }
	var all []heard
	until := time.Now().Add(time.Second)
	for time.Now().Before(until) {
		m, err := inboxes.ReceiveTimeout(t.Ctx, time.Second)
		if os.IsTimeout(err) {
			break
		}
		if m, ok := m.(*redis.Message); ok {
			all = append(all, heard{m.Channel, m.Payload})
		}
	}
	_ = inboxes.Close()
	t.Note("%d envelopes", len(all))
	for _, id := range t.replicaIDs(c) {
		for _, h := range all {
			t.Must(c.Publish(t.Ctx, "farscrape:inbox:"+string(id), h.payload).Err())
		}
	}
	return t.both("victim", small)
}
