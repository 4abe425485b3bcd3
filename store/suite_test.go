package store_test

import (
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, keep time.Duration) storetest.Store {
		return store.NewMemory(store.MemoryConfig{Replica: wire.NewID[wire.ReplicaID](), Keep: keep, TenantLimits: suiteLimits})
	})
}

var suiteLimits = store.TenantLimits{Agents: storetest.TenantAgents, Targets: storetest.TenantTargets, Bytes: storetest.TenantBytes}

func TestRedis(t *testing.T) {
	server := storetest.StartRedis(t)
	storetest.Run(t, func(t *testing.T, keep time.Duration) storetest.Store {
		return open(t, store.RedisConfig{URL: server.URL(), Prefix: t.Name() + ":", Keep: keep, TenantLimits: suiteLimits}).Redis
	})
}
