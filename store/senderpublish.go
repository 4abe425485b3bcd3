package store

import (
	"context"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// runSender publishes what is queued until ctx ends; then what is left, for as
// long as a flush may take.
func (s *Redis) runSender(ctx context.Context, events wire.StoreEvents) {
	sweep := time.NewTicker(s.timing.forget / 10)
	defer sweep.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-sweep.C:
			s.sender.sweep(time.Now().Add(-s.timing.forget))
		case <-s.sender.kick:
			s.publishQueued(ctx, events)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timing.flush)
	defer cancel()
	s.publishQueued(ctx, events)
	s.sender.setUp(false)
}

func (s *Redis) publishQueued(ctx context.Context, events wire.StoreEvents) {
	for ctx.Err() == nil {
		round := s.sender.take(s.config.Replica)
		if len(round) == 0 {
			return
		}
		s.publish(ctx, round, events)
		for _, m := range round {
			s.sender.chunks.put(m.chunk)
		}
	}
}

// publish sends one round and notes what became of each message.
func (s *Redis) publish(ctx context.Context, round []message, events wire.StoreEvents) {
	s.stamp(round)
	ctx, cancel := context.WithTimeout(ctx, 2*publishTimeout) // to write and to be answered
	defer cancel()
	cmds := make([]*redis.IntCmd, len(round))
	if s.clients.cluster == nil {
		s.pipeline(ctx, s.clients.bus, round, cmds)
	} else {
		s.publishToCluster(ctx, round, cmds)
	}
	unsent := func(cmd *redis.IntCmd) bool { return cmd == nil || cmd.Err() != nil }
	if slices.ContainsFunc(cmds, unsent) {
		s.clients.reload(ctx)
	}
	for i, m := range round {
		if unsent(cmds[i]) {
			switch {
			case m.kind == wire.EnvelopeFrames:
				s.metrics.droppedUnsent.Add(float64(len(m.chunk.frames())))
				s.sender.failed(m.to, m.stream)
			case m.kind == wire.EnvelopeProbe && cmds[i] != nil:
				s.inbox.probeFailed(cmds[i].Err())
			}
			continue
		}
		// On a Cluster the count is of one node's subscribers only. If the message is
		// sharded, its receiver should be one: else one of the two has not heard of a
		// fail-over. What the old master's replica takes still arrives.
		unheard := cmds[i].Val() == 0 && (s.clients.cluster == nil || m.sharded && m.kind == wire.EnvelopeProbe)
		if cmds[i].Val() == 0 && m.sharded {
			s.clients.reload(ctx)
		}
		switch {
		case m.kind == wire.EnvelopeFrames:
			s.metrics.framesOut.Add(float64(countFrames(m.chunk.frames())))
			s.metrics.bytesOut.Add(float64(len(m.chunk.frames())))
			if unheard {
				events.Unheard(m.to)
			}
		case m.kind == wire.EnvelopeProbe && unheard:
			kick(s.inbox.unheard)
		}
	}
}

// stamp seals the messages to those replicas that know seals, and this one, and
// says which way each goes.
func (s *Redis) stamp(round []message) {
	if s.config.Keys != nil {
		s.sender.sealer.use(s.config.Keys())
	}
	for i := range round {
		m := &round[i]
		m.envelope, m.sharded = m.chunk, s.sendsSharded(m.to)
		if theirs, seals := s.sealsFor(m.to); seals {
			m.envelope = s.sender.sealer.seal(m.chunk, m.to, theirs)
		}
	}
}

// pipeline publishes messages by one client. A command that was not sent has an
// error too.
func (s *Redis) pipeline(ctx context.Context, client redis.UniversalClient, round []message, cmds []*redis.IntCmd) {
	pipe := client.Pipeline()
	for i, m := range round {
		if channel := s.keys.inbox(m.to); m.sharded {
			cmds[i] = pipe.SPublish(ctx, channel, m.envelope)
		} else {
			cmds[i] = pipe.Publish(ctx, channel, m.envelope)
		}
	}
	exec(ctx, pipe)
}

// countFrames counts the frames of a message.
func countFrames(b []byte) (n int) {
	for len(b) > 0 {
		var err error
		if _, b, err = wire.Next(b); err != nil {
			return n
		}
		n++
	}
	return n
}

// joinLinks writes link IDs as a nudge has them: one after the other.
func joinLinks(links []wire.LinkID) []byte {
	links = links[:min(len(links), wire.MaxEnvelope/wire.IDSize)]
	b := make([]byte, 0, len(links)*wire.IDSize)
	for _, link := range links {
		b = append(b, link...)
	}
	return b
}

// splitLinks reads what joinLinks writes.
func splitLinks(b []byte) []wire.LinkID {
	var links []wire.LinkID
	for ; len(b) >= wire.IDSize; b = b[wire.IDSize:] {
		links = append(links, wire.LinkID(b[:wire.IDSize]))
	}
	return links
}
