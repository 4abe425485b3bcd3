package attempt

import (
	"context"
	"io"

	"github.com/farscrape/farscrape/relay/wire"
)

// A body is an answer's body as the edge reads it.
type body struct {
	x       *attempt
	ctx     context.Context
	done    func()
	segment segment // being read
	unread  []byte  // of it
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.unread) == 0 {
		if err := b.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.unread)
	b.unread = b.unread[n:]
	return n, nil
}

// WriteTo writes the body to w as it stands in memory, a segment at a time.
func (b *body) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if len(b.unread) > 0 {
			n, err := w.Write(b.unread)
			b.unread = b.unread[n:]
			written += int64(n)
			if err != nil {
				return written, err
			}
		}
		if err := b.advance(); err == io.EOF {
			return written, nil
		} else if err != nil {
			return written, err
		}
	}
}

// advance waits for the next segment. The error is io.EOF after a whole body.
func (b *body) advance() error {
	b.putBack()
	for {
		if b.segment = b.x.next(); b.segment != nil {
			b.unread = b.segment
			return nil
		}
		nack, over := b.x.end()
		if nack != nil {
			return &nack.Error
		}
		if over {
			return io.EOF
		}
		select {
		case <-b.x.changed:
		case <-b.ctx.Done():
			return wire.Ended(b.ctx)
		}
	}
}

func (b *body) putBack() {
	if b.segment != nil {
		b.x.attempts.segments.put(b.segment)
		b.segment, b.unread = nil, nil
	}
}

// Close cancels what has not come yet.
func (b *body) Close() error {
	if b.done != nil {
		b.putBack()
		b.x.cancel()
		b.done()
		b.done = nil
	}
	return nil
}
