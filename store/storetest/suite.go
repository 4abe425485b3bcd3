package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A Store is what every store does. The relay declares the parts it uses.
type Store interface {
	Register(context.Context, wire.Entry) (epoch uint64, err error)
	Update(wire.LinkID, *wire.TargetList)
	Renewed(link wire.LinkID, expires time.Time)
	Release(link wire.LinkID, cause string)
	Lookup(context.Context, wire.AgentKey) (*wire.Agent, error)
	List(ctx context.Context, tenant string) ([]wire.Agent, error)
	Forget(context.Context, wire.AgentKey) error
	Replicas() int
	Alone(context.Context) bool
	Links() int
	Send(to wire.ReplicaID, f wire.Frame) error
	RoundTrip() time.Duration
	Join(context.Context, wire.Join) (again bool, err error)
	Record(wire.Event)
	EventsAfter(ctx context.Context, tenant string, after wire.EventID, most int) (wire.EventPage, error)
	EventsBefore(ctx context.Context, tenant string, before wire.EventID, most int) (wire.EventPage, error)
	Run(context.Context, wire.StoreEvents) error
}

// within bounds what a store does in the background.
const within = 10 * time.Second

// What one tenant may take in the stores of the suite.
const (
	TenantAgents  = 40
	TenantTargets = 60
	TenantBytes   = 40 << 10
)

// Run runs the suite. Open makes an empty store that keeps departed agents for
// so long, has the limits above, and is certain of what it holds; it does not run
// yet.
func Run(t *testing.T, open func(t *testing.T, keep time.Duration) Store) {
	cases := []struct {
		name string
		keep time.Duration
		test func(*testing.T, *bench)
	}{
		{"unknown agents are nil", time.Hour, testUnknown},
		{"an entry comes back as it was given", time.Hour, testEntry},
		{"a long list comes back as it was given, and changes", time.Hour, testLongList},
		{"two links of one instance stand together", time.Hour, testTwoLinks},
		{"registering a link twice is registering it once", time.Hour, testTwice},
		{"the younger instance displaces the older", time.Hour, testDisplace},
		{"an instance keeps its epoch", time.Hour, testKeepsEpoch},
		{"an epoch from far ahead is not believed", time.Hour, testEpochAhead},
		{"a claimed epoch puts nobody first", time.Hour, testClaimedFirst},
		{"a yielding entry displaces nobody", time.Hour, testYielding},
		{"a yielding entry keeps nobody out", time.Hour, testYieldingLeaves},
		{"sharing changes nothing for a yielding entry", time.Hour, testYieldingShared},
		{"shared instances stand beside each other", time.Hour, testShared},
		{"shared beside unshared is a conflict", time.Hour, testSharedConflict},
		{"a late release touches nobody else's entry", time.Hour, testLateRelease},
		{"targets can change", time.Hour, testUpdate},
		{"a token can be renewed", time.Hour, testRenewed},
		{"a claim to an address is as old as it was", time.Hour, testClaims},
		{"a claim that was dropped is a new one", time.Hour, testClaimDroppedAndMade},
		{"a departed agent stays known", time.Hour, testDeparted},
		{"a departed agent is forgotten in the end", 300 * time.Millisecond, testKeep},
		{"an ephemeral agent that stopped is gone", time.Hour, testEphemeralStopped},
		{"an ephemeral agent that was lost stays for now", time.Hour, testEphemeralLost},
		{"a listing has all of the tenant's agents and no other", time.Hour, testList},
		{"a tenant has no more agents than it may", time.Hour, testTenantAgents},
		{"a tenant has no more targets than it may", time.Hour, testTenantTargets},
		{"a tenant's targets take no more than they may", time.Hour, testTenantBytes},
		{"an agent takes no more by many links", time.Hour, testAgentBytes},
		{"only a departed agent can be forgotten", time.Hour, testForget},
		{"a token is redeemed so often, by names of their own", time.Hour, testJoin},
		{"a name goes to another where that is said", time.Hour, testJoinInstead},
		{"who has joined joins by another token", time.Hour, testJoinByAnother},
		{"a token is not older than the store, nor of the future", time.Hour, testJoinTimes},
		{"a token is redeemed so often by many at once", time.Hour, testJoinAtOnce},
		{"events are read in their order, from either end", time.Hour, testEvents},
		{"a journal keeps so many events", time.Hour, testEventsBounded},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.test(t, start(t, open(t, c.keep))) })
	}
}

// A bench is a running store with what it said.
type bench struct {
	Store
	*Events
	t       *testing.T
	replica wire.ReplicaID
}

func start(t *testing.T, store Store) *bench {
	t.Helper()
	b := &bench{Store: store, Events: Start(t, store), t: t, replica: wire.NewID[wire.ReplicaID]()}
	WaitUntil(t, within, "the store answers", func() bool {
		_, err := store.List(t.Context(), "any")
		return err == nil
	})
	return b
}

// Start runs a store until the test ends, and returns what it says.
func Start(t *testing.T, store Store) *Events {
	t.Helper()
	events := &Events{}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx, events.Callbacks()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return events
}

// NewEntry makes an entry of a new link of a new instance.
func NewEntry(tenant, agent string) wire.Entry {
	return wire.Entry{
		AgentKey:  wire.AgentKey{Tenant: tenant, Agent: agent},
		Instance:  wire.NewID[wire.InstanceID](),
		Link:      wire.NewID[wire.LinkID](),
		Replica:   wire.NewID[wire.ReplicaID](),
		Connected: time.Now().Truncate(time.Millisecond),
		List:      wire.NewTargetList([]wire.Target{{Name: "node", Scheme: "http", Port: 9100, Path: "/metrics"}}),
	}
}

func (b *bench) register(l wire.Entry) uint64 {
	b.t.Helper()
	epoch, err := b.Register(b.t.Context(), l)
	if err != nil {
		b.t.Fatalf("register: %v", err)
	}
	if epoch == 0 {
		b.t.Fatal("registered without an epoch")
	}
	return epoch
}

func (b *bench) refused(l wire.Entry, want error) {
	b.t.Helper()
	if _, err := b.Register(b.t.Context(), l); !errors.Is(err, want) {
		b.t.Fatalf("register: got %v, want %v", err, want)
	}
}

func (b *bench) lookup(key wire.AgentKey) *wire.Agent {
	b.t.Helper()
	a, err := b.Lookup(b.t.Context(), key)
	if err != nil {
		b.t.Fatalf("look up: %v", err)
	}
	return a
}

// links waits until the agent's links are these, in this order.
func (b *bench) links(key wire.AgentKey, want ...wire.LinkID) *wire.Agent {
	b.t.Helper()
	var a *wire.Agent
	WaitUntil(b.t, within, "the agent has these links", func() bool {
		a = b.lookup(key)
		return a != nil && slices.EqualFunc(a.Links, want, func(l wire.Entry, w wire.LinkID) bool { return l.Link == w })
	})
	return a
}
