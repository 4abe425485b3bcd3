package storetest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// slots is how many a Cluster has.
const slots = 16384

// A RedisCluster is three masters, each with a third of the slots, and a replica
// of the first.
type RedisCluster struct {
	Masters []*RedisServer
	Replica *RedisServer
}

// StartCluster starts one, and stops it with the test.
func StartCluster(tb testing.TB) *RedisCluster {
	tb.Helper()
	node := func() *RedisServer {
		return StartRedis(tb, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0")
	}
	c := &RedisCluster{Masters: []*RedisServer{node(), node(), node()}, Replica: node()}
	first := c.Masters[0]
	for i, m := range c.Masters {
		m.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		m.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
	}
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
	return fmt.Sprintf("%s?addr=%s&addr=%s", c.Masters[0].URL(), c.Masters[1].Addr(), c.Masters[2].Addr())
}

// Owner is which of the masters owned a key, or a channel, at first.
func (c *RedisCluster) Owner(key string) int {
	server := c.Masters[len(c.Masters)-1]
	slot, err := strconv.Atoi(server.Do("CLUSTER", "KEYSLOT", key))
	if err != nil {
		server.tb.Fatal(err)
	}
	owner := 0
	for owner+1 < len(c.Masters) && slot >= (owner+1)*slots/3 {
		owner++
	}
	return owner
}
