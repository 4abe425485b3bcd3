package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/farscrape/farscrape/store/storetest"
)

// generations is more marks than the store draws; see store/doc.go. On a
// Cluster they lie on several masters.
const generations = 16

// seed gives a new Redis the marks of one that was emptied in 1970, so that the
// replicas need not wait out their 45 s of doubt.
func (s *stack) seed(server *storetest.RedisServer) {
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2, DisableIdentity: true})
	defer client.Close()
	for i := range generations {
		err := client.Set(context.Background(), fmt.Sprintf("farscrape:generation:%d", i), "faults 1", 0).Err()
		if err != nil && !strings.HasPrefix(err.Error(), "MOVED") {
			s.must(err)
		}
	}
}

// promoted waits until a replica of Redis's is the master, and says when.
func (s *stack) promoted(server *storetest.RedisServer) time.Time {
	s.until(patience, "Redis's replica becomes the master", func() bool {
		return strings.Contains(server.Do("INFO", "replication"), "role:master")
	})
	return time.Now()
}

// listens reports whether somebody does.
func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}
