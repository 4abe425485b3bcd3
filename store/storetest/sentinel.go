package storetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A RedisSentinel is a master, its replica, and one Sentinel that makes the
// replica the master where the first is gone for half a second.
type RedisSentinel struct {
	Master, Replica *RedisServer
	sentinel        *RedisServer
}

const masterName = "mymaster"

// StartSentinel starts one, and stops it with the test.
func StartSentinel(tb testing.TB) *RedisSentinel {
	tb.Helper()
	master := StartRedis(tb)
	replica := StartRedis(tb, "--replicaof", "127.0.0.1", strconv.Itoa(master.Port()), "--repl-diskless-sync-delay", "0")
	WaitUntil(tb, startWithin, "the replica follows", func() bool {
		return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up")
	})

	s := &RedisServer{tb: tb, bin: Binary(tb, "redis-sentinel"), dir: tb.TempDir(), port: FreePort(tb)}
	config := filepath.Join(s.dir, "sentinel.conf") // Sentinel rewrites it
	lines := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nlogfile %s\n", s.port, s.dir, filepath.Join(s.dir, "sentinel.log")) +
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1\n", masterName, master.Port()) +
		fmt.Sprintf("sentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 3000\n", masterName, masterName)
	if err := os.WriteFile(config, []byte(lines), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	s.launch(config)
	WaitUntil(tb, startWithin, "the Sentinel knows the replica", func() bool {
		return strings.Contains(s.Do("SENTINEL", "REPLICAS", masterName), strconv.Itoa(replica.Port()))
	})
	return &RedisSentinel{Master: master, Replica: replica, sentinel: s}
}

// URL is the Sentinel form of a Redis URL.
func (s *RedisSentinel) URL() string { return s.sentinel.URL() + "?master_name=" + masterName }
