package store

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// roundBytes bounds one pipeline of the bus, roundShare one destination's
	// part of it. A round that takes longer than publishTimeout to write, or
	// to be answered, is lost: 8 Mbit/s to Redis will do.
	roundBytes = 1 << 20
	roundShare = 256 << 10
	// forgetAfter is how long the place in a stream is remembered without use.
	forgetAfter = 10 * time.Minute
)

// An outbox holds what waits to be published, a queue for each destination. One
// goroutine publishes: what has queued up during its last round trip goes out
// in the next one.
type outbox struct {
	kick chan struct{} // capacity 1: something is queued

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
	chunks [][]byte
	bytes  int  // of chunks
	waits  bool // in ready
	owing  bool // the receiver has yet to see that frames are missing
	used   time.Time
}

func (o *outbox) init() {
	o.kick = make(chan struct{}, 1)
	o.queues = make(map[wire.ReplicaID]*queue)
	o.nudges = make(map[wire.ReplicaID][]wire.LinkID)
}

// Send queues whole frames for another replica, and copies them. It never
// waits: the error is ErrBusDown, ErrQueueFull, or says what is wrong with the
// frames. After an error a receiver cannot know that something is missing, so
// the scrapes that the frames belong to must be given up.
func (s *Redis) Send(to wire.ReplicaID, frames []byte) error {
	if len(frames) == 0 {
		return nil
	}
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.up {
		s.metrics.droppedDown.Add(float64(len(frames)))
		return ErrBusDown
	}
	q := o.queue(to)
	if q.bytes+len(frames) > QueueLimit {
		s.metrics.droppedFull.Add(float64(len(frames)))
		return ErrQueueFull
	}
	if err := q.append(frames); err != nil {
		return err
	}
	o.publish(q)
	return nil
}

// publish has q's turn come. o.mu is held.
func (o *outbox) publish(q *queue) {
	if !q.waits {
		q.waits = true
		o.ready = append(o.ready, q)
	}
	kick(o.kick)
}

var errOversize = errors.New("a frame is longer than a message")

// append adds frames to the last chunk, or begins new ones.
func (q *queue) append(frames []byte) error {
	if last := len(q.chunks) - 1; last >= 0 && len(q.chunks[last])+len(frames) <= wire.MaxMessage {
		q.chunks[last] = append(q.chunks[last], frames...)
		q.bytes += len(frames)
		return nil
	}
	chunks, err := split(frames)
	if err != nil {
		return err
	}
	q.chunks = append(q.chunks, chunks...)
	q.bytes += len(frames)
	return nil
}

// split copies frames into chunks of at most wire.MaxMessage bytes.
func split(frames []byte) ([][]byte, error) {
	var chunks [][]byte
	for len(frames) > 0 {
		n := len(frames)
		for rest := frames; n > wire.MaxMessage; {
			// Too long for one: as many whole frames as fit.
			_, after, err := wire.Next(rest)
			if err != nil {
				return nil, fmt.Errorf("send: %w", err)
			}
			if len(frames)-len(after) > wire.MaxMessage {
				if n = len(frames) - len(rest); n == 0 {
					return nil, errOversize
				}
				break
			}
			rest = after
		}
		chunks = append(chunks, append([]byte(nil), frames[:n]...))
		frames = frames[n:]
	}
	return chunks, nil
}

// queue is the destination's queue. o.mu is held.
func (o *outbox) queue(to wire.ReplicaID) *queue {
	q := o.queues[to]
	if q == nil {
		q = &queue{to: to, stream: o.nextStream()}
		o.queues[to] = q
	}
	return q
}

func (o *outbox) nextStream() uint64 {
	o.stream++
	return o.stream
}

// sendProbe queues a probe. It goes whether the bus is up or not.
func (o *outbox) sendProbe(probe wire.Envelope) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.probe = &probe
	o.admit()
	kick(o.kick)
}

// admit shows receivers that frames are missing which nothing else may follow:
// with each probe, so that a Redis that fails is not asked in a loop. o.mu is
// held.
func (o *outbox) admit() {
	for _, q := range o.queues {
		if o.up && q.owing {
			o.publish(q)
		}
	}
}

// nudge tells a replica to look at these links' leases now.
func (o *outbox) nudge(to wire.ReplicaID, links []wire.LinkID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.up && wire.ValidID(string(to)) {
		o.nudges[to] = append(o.nudges[to], links...)
		kick(o.kick)
	}
}

// setUp says whether frames are taken. When the bus goes down, what is queued
// is dropped, and returned in bytes: nobody waits for it any longer.
func (o *outbox) setUp(up bool) (dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.up = up
	if up {
		o.admit()
		return 0
	}
	for _, q := range o.queues {
		dropped += q.bytes
		q.chunks, q.bytes, q.waits = nil, 0, false
		o.restart(q)
	}
	clear(o.nudges)
	o.ready = nil
	return dropped
}

// restart draws the queue a new stream, since frames of the last may be lost.
// Its first sequence number is never sent, so that even a receiver that has
// heard nothing of the last sees a gap.
func (o *outbox) restart(q *queue) {
	q.stream, q.seq, q.owing = o.nextStream(), 1, true
}

// A message is one envelope on its way out.
type message struct {
	kind   wire.EnvelopeKind
	to     wire.ReplicaID
	stream uint64
	frames []byte
	body   []byte // the envelope
}

// take takes the next round's messages, numbered.
func (o *outbox) take(from wire.ReplicaID) []message {
	o.mu.Lock()
	defer o.mu.Unlock()
	var round []message
	add := func(to wire.ReplicaID, e wire.Envelope) {
		e.From = from
		body := e.Append(make([]byte, 0, wire.EnvelopeSize+len(e.Frames)))
		round = append(round, message{kind: e.Kind, to: to, stream: e.Stream, frames: e.Frames, body: body})
	}
	if o.probe != nil {
		add(from, *o.probe)
		o.probe = nil
	}
	for to, links := range o.nudges {
		add(to, wire.Envelope{Kind: wire.EnvelopeNudge, Frames: joinLinks(links)})
		delete(o.nudges, to)
	}
	now := time.Now()
	for size := 0; len(o.ready) > 0 && size < roundBytes; {
		q := o.ready[0]
		o.ready = o.ready[1:]
		q.waits = false
		if len(q.chunks) == 0 {
			q.chunks = [][]byte{nil} // no frames: only that some are missing
		}
		q.owing = false
		for share := 0; len(q.chunks) > 0 && share < roundShare; {
			frames := q.chunks[0]
			q.chunks = q.chunks[1:]
			q.seq++
			q.bytes -= len(frames)
			share += len(frames)
			add(q.to, wire.Envelope{Kind: wire.EnvelopeFrames, Stream: q.stream, Seq: q.seq, Frames: frames})
			size += len(frames)
		}
		q.used = now
		if len(q.chunks) > 0 {
			o.publish(q)
		} else {
			q.chunks = nil
		}
	}
	return round
}

// failed draws the destination a new stream if this one is still in use: nobody
// knows what of it arrived.
func (o *outbox) failed(to wire.ReplicaID, stream uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if q := o.queues[to]; q != nil && q.stream == stream {
		o.restart(q)
	}
}

// sweep forgets destinations that were not used for long.
func (o *outbox) sweep(before time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for to, q := range o.queues {
		if q.bytes == 0 && q.used.Before(before) {
			delete(o.queues, to)
		}
	}
}
