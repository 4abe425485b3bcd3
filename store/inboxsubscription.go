package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

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
	failed := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() { failed <- r.run(ctx) })
	defer reading.Wait()
	defer sub.Close() // ends a Receive
	defer cancel()
	s.inbox.clear()
	p := &prober{redis: s, session: r.session, silence: time.NewTimer(s.timing.probeTimeout)}
	defer p.silence.Stop()
	return p.run(ctx, r.probes, failed, bus)
}

// A prober sends a subscription's probes, one at a time.
type prober struct {
	redis   *Redis
	session uint64 // the stream of its probes
	silence *time.Timer

	last    uint64    // probe
	sent    time.Time // when that was
	back    bool      // it has come back
	unsent  error     // why it was not published
	counted <-chan struct{}
}

// run probes until the subscription fails.
func (p *prober) run(ctx context.Context, probes <-chan uint64, failed <-chan error, bus *busState) error {
	s := p.redis
	tick := time.NewTicker(s.timing.probe)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-s.inbox.unheard:
			return errUnheard
		case p.unsent = <-s.inbox.unsent:
			if redis.IsPermissionError(p.unsent) { // will not pass by itself
				return fmt.Errorf("publish: %w", p.unsent)
			}
		case <-p.silence.C:
			if p.unsent != nil {
				return fmt.Errorf("%w: publish: %w", errSilent, p.unsent)
			}
			return errSilent
		case <-tick.C:
			if p.back {
				p.back = false
				p.send()
			}
		case n := <-probes:
			p.came(n)
		case <-p.counted: // and it is known who else there is
			p.counted = nil
			bus.set(true, nil)
		}
	}
}

// send sends the next probe.
func (p *prober) send() {
	p.last++
	p.sent, p.unsent = time.Now(), nil
	p.silence.Reset(p.redis.timing.probeTimeout)
	p.redis.sender.sendProbe(wire.Envelope{Kind: wire.EnvelopeProbe, Stream: p.session, Seq: p.last})
}

// came takes what the receiver has read: that the subscription stands, or a probe.
func (p *prober) came(n uint64) {
	s := p.redis
	switch {
	case n == subscribed:
		p.send()
	case n == p.last && !p.back:
		p.back = true
		p.silence.Stop()
		took := time.Since(p.sent)
		s.inbox.measured(took)
		s.metrics.probe.Observe(took.Seconds())
		p.counted = s.roster.counted
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
