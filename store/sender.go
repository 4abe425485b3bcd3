package store

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// roundBytes bounds one pipeline of the bus, roundShare one destination's
	// part of it. A round that takes longer than publishTimeout to write, or
	// to be answered, is lost: 8 Mbit/s to Redis will do.
	roundBytes = 1 << 20
	roundShare = wire.MaxEnvelope
)

// A sender holds what waits to be published, a queue for each destination. One
// goroutine publishes: what has queued up during its last round trip goes out
// in the next one.
type sender struct {
	kick   chan struct{} // capacity 1: something is queued
	chunks chunkPool
	sealer sealer // the publishing goroutine's

	mu     sync.Mutex
	up     bool // whether frames are taken
	queues map[wire.ReplicaID]*queue
	ready  []*queue // those that have something to publish, each once, in turn
	stream uint64   // the last one drawn
	probe  *wire.Envelope
	nudges map[wire.ReplicaID][]wire.LinkID
}

// A queue is what waits for one replica. Its chunks are the frames of one
// envelope each. Streams are drawn in ascending order, so that a receiver can
// tell what comes late from what is new.
type queue struct {
	to     wire.ReplicaID
	stream uint64
	seq    uint64
	chunks []chunk
	bytes  int  // of chunks
	waits  bool // in ready
	owing  bool // the receiver has yet to see that frames are missing
	used   time.Time
}

func (s *sender) init() {
	s.kick = make(chan struct{}, 1)
	s.queues = make(map[wire.ReplicaID]*queue)
	s.nudges = make(map[wire.ReplicaID][]wire.LinkID)
}

// Send queues a frame for another replica, and copies it. It never waits: the
// error is ErrBusDown, ErrQueueFull, or says that the frame is too long. After an
// error a receiver cannot know that something is missing, so the scrape that the
// frame belongs to must fail.
func (s *Redis) Send(to wire.ReplicaID, f wire.Frame) error {
	if f.Size() > wire.MaxMessage {
		return errOversize
	}
	out := &s.sender
	out.mu.Lock()
	defer out.mu.Unlock()
	if !out.up {
		s.metrics.droppedDown.Add(float64(f.Size()))
		return ErrBusDown
	}
	q := out.queue(to)
	if q.bytes+f.Size() > QueueLimit {
		s.metrics.droppedFull.Add(float64(f.Size()))
		return ErrQueueFull
	}
	last := len(q.chunks) - 1
	if last < 0 || len(q.chunks[last])+f.Size() > maxChunk {
		q.chunks = append(q.chunks, out.chunks.get())
		last++
	}
	q.chunks[last] = f.Append(q.chunks[last])
	q.bytes += f.Size()
	out.publish(q)
	return nil
}

var errOversize = errors.New("the frame is longer than a message")

// publish has q's turn come. s.mu is held.
func (s *sender) publish(q *queue) {
	if !q.waits {
		q.waits = true
		s.ready = append(s.ready, q)
	}
	kick(s.kick)
}

// queue is the destination's queue. s.mu is held.
func (s *sender) queue(to wire.ReplicaID) *queue {
	q := s.queues[to]
	if q == nil {
		q = &queue{to: to, stream: s.nextStream()}
		s.queues[to] = q
	}
	return q
}

func (s *sender) nextStream() uint64 {
	s.stream++
	return s.stream
}

// sendProbe queues a probe. It goes whether the bus is up or not.
func (s *sender) sendProbe(probe wire.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probe = &probe
	s.showGaps()
	kick(s.kick)
}

// showGaps shows receivers that frames are missing which nothing else may follow:
// with each probe, so that a Redis that fails is not asked in a loop. s.mu is
// held.
func (s *sender) showGaps() {
	for _, q := range s.queues {
		if s.up && q.owing {
			s.publish(q)
		}
	}
}

// nudge tells a replica to look at these links' leases now.
func (s *sender) nudge(to wire.ReplicaID, links []wire.LinkID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up && wire.ValidID(string(to)) {
		s.nudges[to] = append(s.nudges[to], links...)
		kick(s.kick)
	}
}

// setUp says whether frames are taken. When the bus goes down, what is queued
// is dropped, and returned in bytes: nobody waits for it any longer.
func (s *sender) setUp(up bool) (dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = up
	if up {
		s.showGaps()
		return 0
	}
	for _, q := range s.queues {
		dropped += q.bytes
		s.chunks.put(q.chunks...)
		q.chunks, q.bytes, q.waits = nil, 0, false
		s.restart(q)
	}
	clear(s.nudges)
	s.ready = nil
	return dropped
}

// restart draws the queue a new stream, since frames of the last may be lost.
// Its first sequence number is never sent, so that even a receiver that has
// heard nothing of the last sees a gap.
func (s *sender) restart(q *queue) {
	q.stream, q.seq, q.owing = s.nextStream(), 1, true
}

// A message is one envelope on its way out. Whoever takes it puts its chunk back.
type message struct {
	kind   wire.EnvelopeKind
	to     wire.ReplicaID
	stream uint64
	chunk  chunk
	// What is published: the chunk, and its seal if there is one, and the way it
	// goes.
	envelope []byte
	sharded  bool
}

// take takes the next round's messages, numbered.
func (s *sender) take(from wire.ReplicaID) []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var round []message
	add := func(to wire.ReplicaID, e wire.Envelope, c chunk) {
		e.From, e.Frames = from, c.frames()
		e.AppendHeader(c[:0])
		round = append(round, message{kind: e.Kind, to: to, stream: e.Stream, chunk: c})
	}
	if s.probe != nil {
		add(from, *s.probe, s.chunks.get())
		s.probe = nil
	}
	for to, links := range s.nudges {
		add(to, wire.Envelope{Kind: wire.EnvelopeNudge}, append(s.chunks.get(), joinLinks(links)...))
		delete(s.nudges, to)
	}
	now := time.Now()
	for size := 0; len(s.ready) > 0 && size+roundShare <= roundBytes; {
		q := s.ready[0]
		s.ready = s.ready[1:]
		q.waits = false
		if len(q.chunks) == 0 {
			q.chunks = append(q.chunks, s.chunks.get()) // no frames: only that some are missing
		}
		q.owing = false
		for share := 0; len(q.chunks) > 0 && share+len(q.chunks[0].frames()) <= roundShare; {
			c := q.chunks[0]
			q.chunks = q.chunks[1:]
			q.seq++
			q.bytes -= len(c.frames())
			share += len(c.frames())
			size += len(c.frames())
			add(q.to, wire.Envelope{Kind: wire.EnvelopeFrames, Stream: q.stream, Seq: q.seq}, c)
		}
		q.used = now
		if len(q.chunks) > 0 {
			s.publish(q)
		} else {
			q.chunks = nil
		}
	}
	return round
}

// failed draws the destination a new stream if this one is still in use: nobody
// knows what of it arrived.
func (s *sender) failed(to wire.ReplicaID, stream uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[to]; q != nil && q.stream == stream {
		s.restart(q)
	}
}

// destinations are the replicas that something was sent to.
func (s *sender) destinations() []wire.ReplicaID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.queues))
}

// sweep forgets destinations that were not used for long. If they come back, then
// with a stream from its beginning: nothing was lost of the last.
func (s *sender) sweep(before time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for to, q := range s.queues {
		if q.bytes == 0 && !q.owing && q.used.Before(before) {
			delete(s.queues, to)
		}
	}
}
