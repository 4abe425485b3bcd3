package store

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// An inbox is this replica's subscription.
type inbox struct {
	unheard   chan struct{} // capacity 1: Redis knows of no subscriber to it
	unsent    chan error    // capacity 1: why the last probe was not published
	roundTrip atomic.Int64  // time.Duration, smoothed
	sharded   atomic.Bool   // it is heard by either pub/sub, and so do we send
}

func (i *inbox) init() {
	i.unheard = make(chan struct{}, 1)
	i.unsent = make(chan error, 1)
}

// clear drops what is left of the last subscription: it is no news to the next.
func (i *inbox) clear() {
	select {
	case <-i.unheard:
	default:
	}
	select {
	case <-i.unsent:
	default:
	}
}

// probeFailed says why a probe was not published. The sender calls it, alone.
func (i *inbox) probeFailed(why error) {
	select {
	case <-i.unsent:
	default:
	}
	i.unsent <- why
}

// RoundTrip is how long a message over the bus and back to this replica takes,
// smoothed; 0 before the first probe has come back.
func (s *Redis) RoundTrip() time.Duration {
	return time.Duration(s.inbox.roundTrip.Load())
}

// measured takes a probe's time into the smoothed one, by an eighth as TCP does.
func (i *inbox) measured(d time.Duration) {
	old := i.roundTrip.Load()
	if old == 0 {
		old = int64(d)
	}
	i.roundTrip.Store(old + (int64(d)-old)/8)
}

// runInbox keeps this replica subscribed until ctx ends. Every subscription
// that failed is followed by a new one on a new connection; go-redis's own
// reconnecting is not relied on, since it says nothing of what was lost.
func (s *Redis) runInbox(ctx context.Context, events wire.StoreEvents) {
	in := incoming{from: make(peers), seals: checker{self: s.config.Replica, retire: s.timing.retire}}
	bus := busState{redis: s, events: events}
	sharded := s.triesSharded(nil)
	for retry := (backoff{}); ctx.Err() == nil; {
		was, node := bus.up, s.inboxNode(ctx)
		err := s.subscription(ctx, &in, &bus, sharded)
		if ctx.Err() != nil {
			break // the sender flushes
		}
		if bus.up && !was {
			retry.reset()
		}
		if sharded = s.triesSharded(err); !sharded && errors.Is(err, errUnsharded) {
			bus.goPlain(err)
		} else {
			bus.set(false, err)
		}
		if errors.Is(err, errMoved) {
			s.findMoved(ctx, node)
		} else {
			s.clients.reload(ctx)
			retry.wait(ctx)
		}
	}
}

// A busState turns what subscriptions find into events.
type busState struct {
	redis  *Redis
	events wire.StoreEvents
	up     bool
	said   bool // that it is up, or is not
	why    lastDenial
	plain  lastDenial // why it goes by plain pub/sub
}

// goPlain has the bus go by plain pub/sub from the next subscription on. It was
// down for that only if this one stood for some time.
func (b *busState) goPlain(why error) {
	s := b.redis
	s.inbox.sharded.Store(false)
	if _, isNew := b.plain.news(why, s.config.Prefix); isNew {
		s.log.Info("redis refuses sharded pub/sub: the Cluster sends each message to all of its nodes", s.attrs(why)...)
	}
	if b.up {
		b.set(false, why)
	}
}

func (b *busState) set(up bool, why error) {
	s := b.redis
	_, isNew := b.why.news(why, s.config.Prefix)
	if b.said && b.up == up {
		if isNew {
			s.log.Warn("bus is still down", s.attrs(why)...)
		}
		return
	}
	b.up, b.said = up, true
	s.metrics.droppedDown.Add(float64(s.sender.setUp(up)))
	if up {
		if s.inbox.sharded.Load() {
			b.plain = lastDenial{}
		}
		s.metrics.up.Set(1)
		s.log.Info("bus is up", "round_trip", s.RoundTrip(), "sharded", s.inbox.sharded.Load())
	} else {
		s.metrics.up.Set(0)
		s.log.Warn("bus is down; agents at other replicas cannot be scraped", s.attrs(why)...)
	}
	b.events.Bus(up)
}
