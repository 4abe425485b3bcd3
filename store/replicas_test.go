package store

import (
	"context"
	"testing"
	"time"

	"github.com/farscrape/farscrape/store/storetest"
)

// TestAloneIsKnownOrIsNot: not knowing is not being alone.
func TestAloneIsKnownOrIsNot(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	first := open(t, RedisConfig{URL: server.URL()}) // has not looked at Redis yet
	second := run(t, open(t, RedisConfig{URL: server.URL()}))
	storetest.WaitUntil(t, within, "the second is alone", func() bool { return second.Alone(t.Context()) })
	if first.Alone(t.Context()) {
		t.Error("a replica that has not looked yet takes itself for alone, beside another")
	}
	run(t, first)
	storetest.WaitUntil(t, within, "the second is not", func() bool { return !second.Alone(t.Context()) })
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if second.Alone(ctx) {
		t.Error("alone, as a Redis says that does not answer")
	}
}

// TestWhatIsNoHashIsMended: nothing but the count would notice.
func TestWhatIsNoHashIsMended(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	server.Do("SET", "p:replicas", "of the wrong type")
	all := replicas(t, 2, RedisConfig{URL: server.URL(), Prefix: "p:"})
	storetest.WaitUntil(t, within, "both are counted", func() bool { return all[0].Replicas() == 2 })
}
