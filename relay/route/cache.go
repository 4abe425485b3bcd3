package route

import (
	"context"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// How long what the directory said holds without asking again.
const (
	// A linked, unshared agent's entry holds until it proves stale: whoever is
	// wrong about it is told by a NACK, and asks again.
	freshLinked = 10 * time.Minute
	// A shared agent's entry decides which of several instances is asked, and
	// every edge must come to the same: it is renewed within a lease's renewal.
	freshShared = 5 * time.Second
	// An agent that is offline or unknown may come any moment; this only keeps
	// a storm of scrapes for it off the directory.
	freshAbsent = 250 * time.Millisecond
)

const (
	// maxRoutes bounds the entries, and with them what a stranger who makes up
	// names can fill.
	maxRoutes = 50_000
	// maxRouteBytes bounds what the entries' target lists take in memory, by
	// [wire.TargetList.Size]: enough for maxRoutes agents of a few targets each.
	maxRouteBytes = 128 << 20
	// heavyRoute is what an entry takes that is given up before any other: few
	// agents have so many targets, and without them the others fit.
	heavyRoute = 64 << 10
)

// expireStep bounds the entries that expire looks at, with each tick of the
// heartbeat: some 50 µs, for which scrapes wait. Of a full cache, nine entries of
// ten are looked at within half a minute.
const expireStep = 1024

// lookupTimeout bounds one question to the directory.
const lookupTimeout = time.Second

// A cache holds what the directory said of agents, and how long the last
// answers of their targets were.
type cache struct {
	mu      sync.Mutex
	entries map[wire.AgentKey]*entry
	heavy   map[wire.AgentKey]*entry // those of them that are
	bytes   int                      // of all entries
}

type entry struct {
	agent   *wire.Agent // nil: unknown
	bytes   int         // that its target lists take
	asked   time.Time   // when the directory said so
	until   time.Time
	lengths map[string]int64 // of answers over the bus, by target, in bytes
}

func newCache() *cache {
	return &cache{entries: make(map[wire.AgentKey]*entry), heavy: make(map[wire.AgentKey]*entry)}
}

// get returns what the directory said no longer ago than most.
func (c *cache) get(k wire.AgentKey, now time.Time, most time.Duration) (agent *wire.Agent, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil || !now.Before(e.until) || now.Sub(e.asked) >= most {
		return nil, false
	}
	return e.agent, true
}

// remembered returns the directory's last word of an agent, and has it remembered
// on: the directory is away.
func (c *cache) remembered(k wire.AgentKey, now time.Time) *wire.Agent {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		return nil
	}
	if e.until.Before(now) {
		e.until = now // stale, and not expired for as long as anybody asks
	}
	return e.agent
}

func (c *cache) put(k wire.AgentKey, agent *wire.Agent, now time.Time) {
	fresh := freshAbsent
	if agent != nil && agent.Connected() {
		if fresh = freshLinked; agent.Links[0].Shared {
			fresh = freshShared
		}
	}
	bytes := listBytes(agent)
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		e = &entry{}
		c.entries[k] = e
	}
	e.agent, e.asked, e.until = agent, now, now.Add(fresh)
	if agent != nil && len(e.lengths) > 1 && len(e.lengths) > 1+len(agent.Targets()) { // its own among them
		e.lengths = nil // some are of targets that are no more
	}
	c.bytes += bytes - e.bytes
	if e.bytes = bytes; bytes >= heavyRoute {
		c.heavy[k] = e
	} else {
		delete(c.heavy, k)
	}
	for len(c.entries) > 1 && (len(c.entries) > maxRoutes || c.bytes > maxRouteBytes) {
		c.drop(c.other(k))
	}
}

// other picks an entry to give up for k's: the heaviest, if memory is short.
func (c *cache) other(k wire.AgentKey) (other wire.AgentKey) {
	most := 0
	if c.bytes > maxRouteBytes {
		for h, e := range c.heavy {
			if h != k && e.bytes > most {
				other, most = h, e.bytes
			}
		}
	}
	if most > 0 {
		return other
	}
	for other = range c.entries {
		if other != k { // as good as another
			break
		}
	}
	return other
}

func (c *cache) drop(k wire.AgentKey) {
	c.bytes -= c.entries[k].bytes
	delete(c.entries, k)
	delete(c.heavy, k)
}

// listBytes is what an agent's target lists take. Links that share one count it
// once.
func listBytes(agent *wire.Agent) (n int) {
	if agent == nil {
		return 0
	}
	last := agent.Last.List
	n = last.Size()
	for i := range agent.Links {
		if list := agent.Links[i].List; list != last {
			last = list
			n += list.Size()
		}
	}
	return n
}

// forget makes the next scrape of the agent ask the directory. While that is
// away its last word is remembered.
func (c *cache) forget(k wire.AgentKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, now := c.entries[k], time.Now(); e != nil && now.Before(e.until) {
		e.until = now
	}
}

// expire drops some of the entries that were not asked for since they went stale.
// A map is walked from another place each time, so that all have their turn.
func (c *cache) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	looked := 0
	for k, e := range c.entries {
		if looked++; looked > expireStep {
			return
		}
		if now.Sub(e.until) > freshLinked || e.agent == nil && now.After(e.until) {
			c.drop(k)
		}
	}
}

func (c *cache) lastLength(k wire.AgentKey, target string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[k]; e != nil {
		return e.lengths[target]
	}
	return 0
}

// setLength notes how long a target's answer over the bus was. It is of a target
// that the directory has told of: put sees to it that there are no more.
func (c *cache) setLength(k wire.AgentKey, target string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[k]; e != nil {
		if e.lengths == nil {
			e.lengths = make(map[string]int64)
		}
		e.lengths[target] = n
	}
}

// lookup says what the directory knows of an agent, or knew no longer ago than
// most; nil if nothing. Scrapes that ask at once share one question.
func (r *Router) lookup(ctx context.Context, k wire.AgentKey, most time.Duration) (agent *wire.Agent, cached bool, failure *wire.Error) {
	if agent, ok := r.cache.get(k, time.Now(), most); ok {
		return agent, true, nil
	}
	answer := r.lookups.DoChan(k.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(r.base, lookupTimeout)
		defer cancel()
		agent, err := r.Directory.Lookup(ctx, k)
		r.countLookup(agent, err)
		if err == nil {
			r.cache.put(k, agent, time.Now())
		}
		return agent, err
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return nil, false, noDirectory(a.Err)
		}
		return a.Val.(*wire.Agent), false, nil
	case <-ctx.Done():
		return nil, false, wire.Ended(ctx)
	}
}
