package edge

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/farscrape/farscrape/relay/wire"
)

const (
	// maxUnread bounds what the pages of all tenants hold that is being read, in
	// bytes: as much as is kept of lists. A tenant has no more of it than is free,
	// but one answer at least, however long.
	maxUnread = 64 << 20
	// makersEach is how many answers of a tenant are made at a time. What is made
	// and not yet granted is bounded by it.
	makersEach = 2
	// shortAnswer is how long an answer may be that counts for nothing: the
	// connection's buffers take as much.
	shortAnswer = 16 << 10
)

// An answer is a page as it is sent. Those who are sent the same share it.
type answer struct {
	body    []byte
	tag     string // its ETag
	readers int    // guarded by pageRoom.mu
}

// newAnswer is an answer whose tag tells its content, whichever replica made it.
func newAnswer(body []byte) *answer {
	sum := sha256.Sum256(body)
	return &answer{body: body, tag: fmt.Sprintf(`"%x"`, sum[:12])}
}

// A pageRoom bounds the answers that are held for their readers, and of each tenant's
// those being made: whoever asks for long pages and does not read them must not fill
// the memory. The zero value is empty.
type pageRoom struct {
	mu      sync.Mutex // guards what follows
	bytes   int
	tenants map[string]*readings
	less    chan struct{} // closed when there is less; nil if nobody waits
}

// readings are one tenant's.
type readings struct {
	bytes  int
	makers chan struct{} // holds one for each that is made
	users  int           // of the readings: they are forgotten after the last
}

// of returns the tenant's readings, for the caller to leave.
func (r *pageRoom) of(tenant string) *readings {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tenants == nil {
		r.tenants = make(map[string]*readings)
	}
	t := r.tenants[tenant]
	if t == nil {
		t = &readings{makers: make(chan struct{}, makersEach)}
		r.tenants[tenant] = t
	}
	t.users++
	return t
}

func (r *pageRoom) leave(tenant string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tenants[tenant]; t.users > 1 {
		t.users--
	} else {
		delete(r.tenants, tenant)
	}
}

// serve sends an answer to a page of the tenant's: one that is known, where find
// finds it, or else what compute makes.
func (r *pageRoom) serve(ctx context.Context, tenant string, find func() *answer, compute func() (*answer, error), send func(*answer)) error {
	t := r.of(tenant)
	defer r.leave(tenant)
	a := find()
	if a == nil || r.hold(t, a) != nil {
		var err error
		if a, err = r.inTurn(ctx, t, find, compute); err != nil {
			return err
		}
	}
	defer r.release(t, a)
	send(a)
	return nil
}

// inTurn makes an answer and holds it, when the tenant's turn has come.
func (r *pageRoom) inTurn(ctx context.Context, t *readings, find func() *answer, compute func() (*answer, error)) (*answer, error) {
	select {
	case t.makers <- struct{}{}:
	case <-ctx.Done():
		return nil, noRoom(ctx)
	}
	defer func() { <-t.makers }()
	a := find() // somebody may have made it meanwhile
	if a == nil {
		var err error
		if a, err = compute(); err != nil {
			return nil, err
		}
	}
	for {
		less := r.hold(t, a)
		if less == nil {
			return a, nil
		}
		select {
		case <-less:
		case <-ctx.Done():
			return nil, noRoom(ctx)
		}
	}
}

// noRoom says why a page was not made in time.
func noRoom(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return wire.Errorf(wire.Overloaded, "too much of this tenant's pages is being made, or is not read")
	}
	return ctx.Err()
}

// hold counts one more reader of an answer, or returns what is closed when it is
// worth another try.
func (r *pageRoom) hold(t *readings, a *answer) (less <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(a.body)
	if a.readers == 0 && n > shortAnswer {
		if t.bytes > 0 && t.bytes+n > maxUnread-r.bytes {
			if r.less == nil {
				r.less = make(chan struct{})
			}
			return r.less
		}
		t.bytes += n
		r.bytes += n
	}
	a.readers++
	return nil
}

func (r *pageRoom) release(t *readings, a *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(a.body)
	if a.readers--; a.readers > 0 || n <= shortAnswer {
		return
	}
	t.bytes -= n
	r.bytes -= n
	if r.less != nil {
		close(r.less)
		r.less = nil
	}
}
