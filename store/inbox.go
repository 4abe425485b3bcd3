package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// An inbox is this replica's subscription.
type inbox struct {
	unheard   chan struct{} // capacity 1: Redis knows of no subscriber to it
	unsent    chan error    // capacity 1: why the last probe was not published
	roundTrip atomic.Int64  // time.Duration, smoothed
}

func (i *inbox) init() {
	i.unheard = make(chan struct{}, 1)
	i.unsent = make(chan error, 1)
}

// probeFailed says why a probe was not published. The outbox calls it, alone.
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
	in := incoming{from: make(senders), seals: checker{self: s.config.Replica}}
	bus := busState{redis: s, events: events}
	for retry := (backoff{}); ctx.Err() == nil; {
		was := bus.up
		err := s.subscription(ctx, &in, &bus)
		if ctx.Err() != nil {
			break // the outbox flushes
		}
		if bus.up && !was {
			retry.reset()
		}
		bus.set(false, err)
		s.clients.reload(ctx)
		retry.wait(ctx)
	}
}

// A busState turns what subscriptions find into events.
type busState struct {
	redis  *Redis
	events wire.StoreEvents
	up     bool
	said   bool // that it is up, or is not
	why    grievance
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
	s.metrics.droppedDown.Add(float64(s.outbox.setUp(up)))
	if up {
		s.metrics.up.Set(1)
		s.log.Info("bus is up", "round_trip", s.RoundTrip())
	} else {
		s.metrics.up.Set(0)
		s.log.Warn("bus is down; agents at other replicas cannot be scraped", s.attrs(why)...)
	}
	b.events.Bus(up)
}

var (
	errSilent  = errors.New("no probe came back")
	errUnheard = errors.New("redis knows no subscriber to our inbox")
)

// subscription runs one subscription until it fails, and returns why. While
// probes come back the bus is up.
func (s *Redis) subscription(ctx context.Context, in *incoming, bus *busState) error {
	ctx, cancel := context.WithCancel(ctx)
	sub := s.clients.bus.Subscribe(ctx)
	r := &receiver{redis: s, sub: sub, incoming: in, events: bus.events, session: rand.Uint64(), probes: make(chan uint64, 16)}
	ended := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() { ended <- r.run(ctx) })
	defer reading.Wait()
	defer sub.Close() // ends a Receive
	defer cancel()

	select { // what the last subscription missed is no news
	case <-s.inbox.unheard:
	default:
	}
	select {
	case <-s.inbox.unsent:
	default:
	}
	var (
		unsent  error // why the last probe was not published
		works   <-chan struct{}
		last    uint64 // probe
		sent    time.Time
		tick    = time.NewTicker(s.timing.probe)
		silence = time.NewTimer(s.timing.probeTimeout)
	)
	defer tick.Stop()
	defer silence.Stop()
	probe := func() {
		last++
		sent, unsent = time.Now(), nil
		silence.Reset(s.timing.probeTimeout)
		s.outbox.sendProbe(wire.Envelope{Kind: wire.EnvelopeProbe, Stream: r.session, Seq: last})
	}
	for back := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case <-s.inbox.unheard:
			return errUnheard
		case unsent = <-s.inbox.unsent:
			if redis.IsPermissionError(unsent) { // will not pass by itself
				return fmt.Errorf("publish: %w", unsent)
			}
		case <-silence.C:
			if unsent != nil {
				return fmt.Errorf("%w: publish: %w", errSilent, unsent)
			}
			return errSilent
		case <-tick.C:
			if back {
				back = false
				probe()
			}
		case n := <-r.probes:
			switch {
			case n == subscribed:
				probe()
			case n == last && !back:
				back = true
				silence.Stop()
				took := time.Since(sent)
				s.inbox.measured(took)
				s.metrics.probe.Observe(took.Seconds())
				works = s.roster.counted
			}
		case <-works: // and it is known who else there is
			works = nil
			bus.set(true, nil)
		}
	}
}

// subscribed stands for the answer to SUBSCRIBE among the probes, which count
// from 1.
const subscribed = 0

// A receiver reads one subscription.
type receiver struct {
	*incoming
	redis   *Redis
	sub     *redis.PubSub
	events  wire.StoreEvents
	session uint64      // the stream of its probes
	probes  chan uint64 // those that came back
}

// run reads until the subscription fails. It is never quiet for longer than a
// probe takes, so a time-out is a failure, too: one in the middle of a message
// would leave the connection out of step.
func (r *receiver) run(ctx context.Context) error {
	s := r.redis
	if err := r.sub.Subscribe(ctx, s.keys.inbox(s.config.Replica)); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for {
		got, err := r.sub.ReceiveTimeout(ctx, s.timing.probe+s.timing.probeTimeout)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		switch m := got.(type) {
		case *redis.Subscription:
			r.probe(subscribed)
		case *redis.Message:
			r.message(ctx, []byte(m.Payload))
		}
	}
}

// probe passes a probe on. There is one at a time, so that the channel is never
// full.
func (r *receiver) probe(n uint64) {
	select {
	case r.probes <- n:
	default:
	}
}
