package main

import (
	"strings"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
	"github.com/farscrape/farscrape/store/storetest"
)

// promoted waits until a replica of Redis's is the master, and says when.
func (s *stack) promoted(server *storetest.RedisServer) time.Time {
	s.Until(rig.Patience, "Redis's replica becomes the master", func() bool {
		return strings.Contains(server.Do("INFO", "replication"), "role:master")
	})
	return time.Now()
}
