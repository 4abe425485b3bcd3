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
	errMoved   = errors.New("the slot of our inbox has moved to another node")
)

// subscription runs one subscription until it fails, and returns why. While
// probes come back the bus is up. One that is sharded hears plain messages, too:
// whoever does not know of it sends those, and to hear them costs nothing.
func (s *Redis) subscription(ctx context.Context, in *incoming, bus *busState, sharded bool) error {
	ctx, cancel := context.WithCancel(ctx)
	sub := s.clients.bus.Subscribe(ctx)
	r := &receiver{redis: s, sub: sub, incoming: in, events: bus.events, sharded: sharded, session: rand.Uint64(), probes: make(chan uint64, 16)}
	failed := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() { failed <- r.run(ctx) })
	defer reading.Wait()
	defer sub.Close() // ends a Receive
	defer cancel()
	s.inbox.clear()
	p := &prober{redis: s, sharded: sharded, session: r.session, silence: time.NewTimer(s.timing.probeTimeout)}
	defer p.silence.Stop()
	return p.run(ctx, r.probes, failed, bus)
}

// A prober sends a subscription's probes, one at a time.
type prober struct {
	redis   *Redis
	sharded bool   // its probes
	session uint64 // their stream
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
			if p.sharded {
				p.unsent = unsharded(p.unsent)
			}
			if refuses(p.unsent) { // will not pass by itself
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

// subscribed stands for the answers to SUBSCRIBE and SSUBSCRIBE among the probes,
// which count from 1.
const subscribed = 0

// A receiver reads one subscription.
type receiver struct {
	*incoming
	redis   *Redis
	sub     *redis.PubSub
	events  wire.StoreEvents
	sharded bool        // it is subscribed by either pub/sub
	session uint64      // the stream of its probes
	probes  chan uint64 // those that came back
}

// run reads until the subscription fails. It is never quiet for longer than a
// probe takes, so a time-out is a failure, too: one in the middle of a message
// would leave the connection out of step.
func (r *receiver) run(ctx context.Context) error {
	s := r.redis
	inbox := s.keys.inbox(s.config.Replica)
	if err := r.sub.Subscribe(ctx, inbox); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	awaited := 1 // answers
	if r.sharded {
		if err := r.sub.SSubscribe(ctx, inbox); err != nil {
			return fmt.Errorf("ssubscribe: %w", err)
		}
		awaited++
	}
	for {
		got, err := r.sub.ReceiveTimeout(ctx, s.timing.probe+s.timing.probeTimeout)
		switch {
		case err != nil && r.sharded && awaited == 1:
			return fmt.Errorf("ssubscribe: %w", unsharded(err))
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
		switch m := got.(type) {
		case *redis.Subscription:
			if awaited == 0 { // go-redis would not subscribe anew
				return errMoved
			}
			if awaited--; awaited == 0 {
				s.inbox.sharded.Store(r.sharded)
				r.probe(subscribed)
			}
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
