package store

import (
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, keep time.Duration) storetest.Store {
		return NewMemory(MemoryConfig{Replica: wire.NewID[wire.ReplicaID](), Keep: keep, TenantLimits: suiteLimits})
	})
}

var suiteLimits = TenantLimits{Agents: storetest.TenantAgents, Targets: storetest.TenantTargets, Bytes: storetest.TenantBytes}

func TestRedis(t *testing.T) {
	server := storetest.StartRedis(t)
	storetest.Run(t, func(t *testing.T, keep time.Duration) storetest.Store {
		return open(t, RedisConfig{URL: server.URL(), Prefix: t.Name() + ":", Keep: keep, TenantLimits: suiteLimits})
	})
}

// open makes a Redis with a replica ID of its own. Without Grace there is none.
func open(t *testing.T, config RedisConfig) *Redis {
	t.Helper()
	if config.Replica == "" {
		config.Replica = wire.NewID[wire.ReplicaID]()
	}
	if config.Grace == 0 {
		config.Grace = -1
	}
	s, err := NewRedis(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
