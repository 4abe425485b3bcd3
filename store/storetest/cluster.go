package storetest

import (
	"strconv"
	"strings"
	"testing"
)

// slots is how many a Cluster has.
const slots = 16384

// A RedisCluster is masters, each with an equal part of the slots, and a replica of
// the first.
type RedisCluster struct {
	Masters []*RedisServer
	Replica *RedisServer
}

// StartCluster starts one of three masters, and stops it with the test.
func StartCluster(tb testing.TB) *RedisCluster {
	tb.Helper()
	return StartClusterOf(tb, 3)
}

// StartClusterOf starts one of so many masters.
func StartClusterOf(tb testing.TB, masters int) *RedisCluster {
	tb.Helper()
	node := func() *RedisServer {
		return StartRedis(tb, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0")
	}
	c := &RedisCluster{Replica: node()}
	for i := range masters {
		m := node()
		m.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		m.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
		c.Masters = append(c.Masters, m)
	}
	first := c.Masters[0]
	all := append([]*RedisServer{c.Replica}, c.Masters...)
	for _, n := range all {
		if n != first {
			n.Do("CLUSTER", "MEET", "127.0.0.1", first.Port())
		}
	}
	WaitUntil(tb, startWithin, "the nodes know each other", func() bool {
		for _, n := range all {
			if strings.Count(n.Do("CLUSTER", "NODES"), " connected") != len(all) {
				return false
			}
		}
		return true
	})
	c.Replica.Do("CLUSTER", "REPLICATE", first.Do("CLUSTER", "MYID"))
	WaitUntil(tb, startWithin, "the Cluster is whole", func() bool {
		for _, n := range all {
			info := n.Do("CLUSTER", "INFO")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(n.Do("CLUSTER", "NODES"), "slave") {
				return false
			}
		}
		return strings.Contains(c.Replica.Do("INFO", "replication"), "master_link_status:up")
	})
	return c
}

// URL is the Cluster form of a Redis URL.
func (c *RedisCluster) URL() string {
	url := c.Masters[0].URL() + "?"
	for _, m := range c.Masters {
		url += "addr=" + m.Addr() + "&"
	}
	return strings.TrimSuffix(url, "&")
}

// Owner is which of the masters owned a key, or a channel, at first.
func (c *RedisCluster) Owner(key string) int {
	masters := len(c.Masters)
	server := c.Masters[masters-1]
	slot, err := strconv.Atoi(server.Do("CLUSTER", "KEYSLOT", key))
	if err != nil {
		server.tb.Fatal(err)
	}
	owner := 0
	for owner+1 < masters && slot >= (owner+1)*slots/masters {
		owner++
	}
	return owner
}

// Promote has the first master's replica take its place while both live.
func (c *RedisCluster) Promote() {
	c.Replica.tb.Helper()
	c.Replica.Do("CLUSTER", "FAILOVER")
	WaitUntil(c.Replica.tb, startWithin, "the replica is a master", func() bool {
		return strings.Contains(c.Replica.Do("INFO", "replication"), "role:master")
	})
}

// MoveSlot moves the slot of a key, or a channel, with all that is in it, from one
// master to another, as redis-cli does.
func (c *RedisCluster) MoveSlot(key string, from, to *RedisServer) {
	from.tb.Helper()
	slot := from.Do("CLUSTER", "KEYSLOT", key)
	source, target := from.Do("CLUSTER", "MYID"), to.Do("CLUSTER", "MYID")
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", source)
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", target)
	for {
		keys := strings.Fields(strings.Trim(from.Do("CLUSTER", "GETKEYSINSLOT", slot, 100), "[]"))
		if len(keys) == 0 {
			break
		}
		migrate := []any{"MIGRATE", "127.0.0.1", to.Port(), "", 0, 5000, "KEYS"}
		for _, k := range keys {
			migrate = append(migrate, k)
		}
		from.Do(migrate...)
	}
	for _, n := range []*RedisServer{to, from} {
		n.Do("CLUSTER", "SETSLOT", slot, "NODE", target)
	}
}
