package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// Neither a Redis that was emptied nor one that evicts keys gives uses back, and a replica
// that finds it empty begins anew.
func TestLostUsesAreNotGivenBack(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	r := quickly(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour}, store.Pace{Look: 50 * time.Millisecond})
	token := func() wire.Join {
		return wire.Join{
			AgentKey: wire.AgentKey{Tenant: "t", Agent: "a"}, Joiner: wire.NewJoinID().Joiner(), TokenID: string(wire.NewID[wire.LinkID]()),
			Uses: 1, Minted: time.Now().Truncate(time.Millisecond), Expires: time.Now().Add(time.Hour), Free: true,
		}
	}
	began := func() {
		storetest.WaitUntil(t, within, "it is counted who joins", func() bool { return server.Do("EXISTS", "{join}:born") == "1" })
		time.Sleep(time.Millisecond) // of which times are whole
	}
	other := func(j wire.Join) error {
		j.Joiner, j.Agent = wire.NewJoinID().Joiner(), "b"
		_, err := r.Join(t.Context(), j)
		return err
	}
	began()
	evicted := token()
	if _, err := r.Join(t.Context(), evicted); err != nil {
		t.Fatal(err)
	}
	server.Do("DEL", "{join}:uses:"+evicted.TokenID)
	if err := other(evicted); !errors.Is(err, wire.ErrJoinOld) {
		t.Errorf("its uses were evicted: %v", err)
	}
	server.Do("FLUSHALL")
	began()
	if err := other(evicted); !errors.Is(err, wire.ErrJoinOld) {
		t.Errorf("redis was emptied: %v", err)
	}
	if err := other(token()); err != nil {
		t.Errorf("by a new token: %v", err)
	}
}
