package store_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
)

// After a start the agents of before come back one by one: until they had time
// to, the list would be too short, and Prometheus would drop the rest.
func TestMemoryIsUncertainAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryConfig{Keep: time.Hour, Grace: 45 * time.Second})
		entry := wire.Entry{AgentKey: wire.AgentKey{Tenant: "t", Agent: "back"}, Instance: "i", Link: "l"}
		if _, err := m.Register(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		nobody := wire.AgentKey{Tenant: "t", Agent: "nobody"}
		ask := func() (listed, known, unknown error) {
			_, listed = m.List(t.Context(), "t")
			_, known = m.Lookup(t.Context(), entry.AgentKey)
			_, unknown = m.Lookup(t.Context(), nobody)
			return listed, known, unknown
		}
		time.Sleep(44 * time.Second)
		if listed, known, unknown := ask(); !errors.Is(listed, store.ErrUncertain) || known != nil || !errors.Is(unknown, store.ErrUncertain) {
			t.Errorf("at first: list %v, who is back %v, who is not %v", listed, known, unknown)
		}
		time.Sleep(time.Second)
		if listed, known, unknown := ask(); listed != nil || known != nil || unknown != nil {
			t.Errorf("later: list %v, who is back %v, who is not %v", listed, known, unknown)
		}
	})
}
