package main

import (
	"context"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/farscrape/farscrape/scripts/rig"
)

const (
	local  = "local"  // scraped through the replica that holds the agent's link
	remote = "remote" // through another
)

func redisFaults() []fault {
	pinned := plan{agents: pinnedAgents(4), jobs: localAndRemote}
	stall := "by their deadline, never later; back ≤ 2 s"
	behind := pinned
	behind.redisLine = true
	sentinel := pinned
	sentinel.sentinel = true
	return []fault{
		{name: "redis-restarted", figure: "local 0 failed; remote back ≤ 2 s", short: true, inject: restartRedis, judge: remoteBack, plan: pinned},
		{name: "redis-emptied-agent-away", figure: "listed and 503, 404 never", inject: emptyRedis, judge: awayIs503},
		{name: "redis-stalled", figure: stall, inject: stallRedis, judge: remoteBack, plan: pinned},
		{name: "redis-paused", figure: stall, inject: pauseRedis, judge: remoteBack, plan: pinned},
		{name: "redis-black-holed", figure: "noticed ≤ 5 s; " + stall, short: true, inject: blackHoleRedis, judge: remoteBack, plan: behind},
		{name: "redis-pubsub-killed", figure: stall, inject: killPubSub, judge: remoteBack, plan: pinned},
		{name: "redis-refusing", figure: stall, inject: refuseRedis, judge: remoteBack, plan: pinned},
		{name: "redis-full", figure: stall, inject: fillRedis, judge: remoteBack, plan: pinned},
		{name: "sentinel-failover", figure: "back ≤ 2 s of the new master", inject: failover, judge: remoteBack, plan: sentinel},
	}
}

// pinnedAgents have one link each, to a replica that is known.
func pinnedAgents(n int) []agentPlan {
	all := standardAgents()[:n]
	for i := range all {
		all[i].pinned, all[i].to = true, i%3
	}
	return all
}

// localAndRemote scrapes every target through its agent's replica and through
// another one.
func localAndRemote(s *stack) []job {
	at := func(next int) func(*agent) (string, string) {
		return func(a *agent) (string, string) {
			r := s.Replicas[(a.plan.to+next)%len(s.Replicas)]
			return r.Addr, r.Name
		}
	}
	return append(s.jobs(local, at(0)), s.jobs(remote, at(1))...)
}

// remoteBack is what every outage of Redis may cost: nothing of what needs no
// Redis, and the rest only until two seconds after it.
func remoteBack(t *trial) {
	class := func(c string) []result { return only(t.results, func(r *result) bool { return r.job.class == c }) }
	t.judgeNone("local", class(local))
	of := tallyOf(class(remote), t.relieved)
	t.Note("remote: %d of %d failed, back %s after the outage", of.failed, of.tried, seconds(of.most))
	if of.most > 2*time.Second {
		t.Miss("remote scrapes were back only %s after the outage", seconds(of.most))
	}
	if name := t.watch.everUnready(); name != "" {
		t.Miss("replica %s was not ready", name)
	}
}

func restartRedis(t *trial) {
	t.redis.Stop()
	t.Wait(3 * time.Second)
	t.redis.Start()
	t.over()
}

// emptyRedis empties it while an agent is away.
func emptyRedis(t *trial) {
	t.agents[0].Kill()
	t.Wait(2 * time.Second)
	t.redis.Stop()
	t.redis.Start()
	t.emptied = time.Now()
	t.Wait(60 * time.Second)
	if as, ok := t.lists("a0"); !ok || as.connected {
		t.Miss("a minute later /sd has a0 as %+v", as)
	}
	t.relieve()
	t.agents[0].Run()
	t.settle()
}

func awayIs503(t *trial) {
	t.judgeAway("the agent that is away", "503", func(r *result) bool { return r.status == http.StatusServiceUnavailable })
	of := tallyOf(only(small(t.results), func(r *result) bool { return r.job.agent != "a0" }), t.emptied)
	t.Note("of other agents %d of %d failed, back after %s", of.failed, of.tried, seconds(of.most))
	if of.most > 2*time.Second {
		t.Miss("other agents were back only %s after Redis", seconds(of.most))
	}
}

// outage is how long Redis is away where it does not die.
const outage = 10 * time.Second

func stallRedis(t *trial) {
	t.redis.Pause()
	t.Wait(outage)
	t.redis.Resume()
	t.over()
}

// pauseRedis has Redis take commands and answer none.
func pauseRedis(t *trial) {
	t.redis.Do("CLIENT", "PAUSE", outage.Milliseconds(), "ALL")
	t.Wait(outage)
	t.over()
}

func blackHoleRedis(t *trial) {
	t.redisLine.set(weather{swallow: [2]bool{true, true}})
	took, ok := t.Poll(8*time.Second, func() bool {
		up := 0.0
		for _, r := range t.Replicas {
			up += rig.Metric(r.Ops, "farscrape_relay_bus_up")
		}
		return up == 0
	})
	t.Note("noticed by all replicas after %s", seconds(took))
	if !ok || took > 5*time.Second {
		t.Miss("the black hole was noticed only after %s", seconds(took))
	}
	t.Wait(outage - took)
	t.redisLine.set(weather{})
	t.over()
}

func killPubSub(t *trial) {
	t.Note("%s subscriptions killed", t.redis.Do("CLIENT", "KILL", "TYPE", "pubsub"))
	t.Wait(8 * time.Second)
}

// refuseRedis takes everything from Redis's user, and its subscriptions with it.
func refuseRedis(t *trial) {
	t.redis.Do("ACL", "SETUSER", "default", "-@all", "+acl", "+client")
	t.redis.Do("CLIENT", "KILL", "TYPE", "pubsub")
	t.Wait(outage)
	t.redis.Do("ACL", "SETUSER", "default", "+@all")
	t.over()
}

// fillRedis lets no new connection in and cuts the old ones.
func fillRedis(t *trial) {
	admin := redis.NewClient(&redis.Options{Addr: t.redis.Addr(), Protocol: 2, DisableIdentity: true, PoolSize: 1, MaxRetries: -1})
	defer admin.Close()
	do := func(args ...any) { t.Must(admin.Do(context.Background(), args...).Err()) }
	do("CONFIG", "SET", "maxclients", 1)
	do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	do("CLIENT", "KILL", "TYPE", "pubsub")
	t.Wait(outage)
	do("CONFIG", "SET", "maxclients", 10000)
	t.over()
}

func failover(t *trial) {
	t.redis.Kill()
	t.relieved = t.promoted(t.sentinel.Replica)
	t.Note("the new master came after %s", seconds(t.relieved.Sub(t.began)))
	t.Wait(10 * time.Second)
}
