package agent

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// The most body in one DATA frame, in bytes.
const (
	// dataSize leaves room for HEAD and END in the same message.
	dataSize = 62 << 10
	// slowDataSize is half of that: at 64 kB/s scrapes take turns twice a second.
	slowDataSize = 31 << 10
)

// usualHead is as long as a HEAD is of what Prometheus's client libraries
// answer, in bytes, and some more. One that is longer grows.
const usualHead = 256

// A scrape is one REQUEST, from when it came until its END or NACK. It says one
// of the two, once, and nothing after it.
type scrape struct {
	key     wire.AttemptKey
	came    time.Time
	out     *writer
	credit  credit
	cancel  context.CancelFunc
	taken   chan struct{} // the DATA frame that was queued is on its way
	buffers *sync.Pool    // of *[dataSize]byte

	mu       sync.Mutex
	head     []byte // the target's HEAD, until it is sent
	headSent bool
	answered bool
}

// frame is one of the scrape's frames.
func (s *scrape) frame(t wire.Type, payload []byte) outgoing {
	return outgoing{Frame: s.key.Frame(t, payload)}
}

// stillHere says what there is to say while the target takes its time: HEAD if
// it has come, else that the request has.
func (s *scrape) stillHere() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.answered || s.headSent:
	case s.head != nil:
		s.headSent = true
		s.out.send(s.frame(wire.TypeHead, s.head))
	default:
		s.out.send(s.frame(wire.TypeAck, nil))
	}
}

// nack refuses the scrape: the target was not asked.
func (s *scrape) nack(why *wire.Error, elsewhere bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = true
	s.out.send(outgoing{Frame: s.key.Nack(wire.Nack{Error: *why, Elsewhere: elsewhere})})
}

// end is END's payload.
func (s *scrape) end(failure *wire.Error) []byte {
	return wire.End{Failure: failure, Took: time.Since(s.came)}.Append(nil)
}

// fail ends the scrape short of a whole answer.
func (s *scrape) fail(why *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = true
	s.out.send(s.frame(wire.TypeEnd, s.end(why)))
}

// begin keeps the head for the first piece of body to share a message with.
func (s *scrape) begin(head *wire.Head) {
	payload := head.Append(make([]byte, 0, usualHead))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = payload
}

// deliver queues a piece of body, HEAD before it if it is the first and END
// after it if it is the last.
func (s *scrape) deliver(data []byte, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frames := make([]outgoing, 0, 3)
	if !s.headSent {
		s.headSent = true
		frames = append(frames, s.frame(wire.TypeHead, s.head))
	}
	if len(data) > 0 {
		f := s.frame(wire.TypeData, data)
		f.taken = s.taken
		frames = append(frames, f)
	}
	if last {
		s.answered = true
		frames = append(frames, s.frame(wire.TypeEnd, s.end(nil)))
	}
	s.out.send(frames...)
}

// pump sends the body as it is read and as credit allows, and END.
func (s *scrape) pump(ctx context.Context, body io.Reader) *wire.Error {
	buffer := s.buffers.Get().(*[dataSize]byte)
	defer s.buffers.Put(buffer) // nothing of it is queued any more
	for {
		n, err := fill(body, buffer[:s.out.turn()])
		switch {
		case errors.Is(err, io.EOF):
			return s.pieces(ctx, buffer[:n], true)
		case err != nil && ctx.Err() != nil:
			return over(ctx)
		case err != nil:
			return wire.Errorf(wire.TargetBadAnswer, "the body broke off: %s", printable(err.Error()))
		}
		if failure := s.pieces(ctx, buffer[:n], false); failure != nil {
			return failure
		}
	}
}

// pieces sends data as credit allows. When it returns data is free again.
func (s *scrape) pieces(ctx context.Context, data []byte, whole bool) *wire.Error {
	if whole && len(data) == 0 {
		s.deliver(nil, true)
	}
	for len(data) > 0 {
		n, err := s.credit.spend(ctx, len(data))
		if err != nil {
			return over(ctx)
		}
		s.deliver(data[:n], whole && n == len(data))
		if !s.sent(ctx) {
			return over(ctx)
		}
		data = data[n:]
	}
	return nil
}

// sent waits until the DATA that was delivered is on its way. If ctx or the link
// ends before that it is taken back, with the END after it: the scrape has not
// ended then.
func (s *scrape) sent(ctx context.Context) bool {
	select {
	case <-s.taken:
		return true
	case <-s.out.done:
		return false
	case <-ctx.Done():
	}
	if !s.out.withdraw(s.taken) {
		<-s.taken // just now
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = false
	return false
}
