package edge

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// A tenant's readers who read nothing hold no more of their pages than its share,
// and another tenant's page is sent meanwhile. Those who wait get theirs when there
// is room again, or a reason when their time is up.
func TestPagesThatNobodyReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const long = 10 << 20
		var room pageRoom
		var made, held, sent, refused atomic.Int64
		nothing := func() *answer { return nil }
		page := func() (*answer, error) { made.Add(1); return &answer{body: make([]byte, long)}, nil }
		read := make(chan struct{})
		ask := func(timeout time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			err := room.serve(ctx, "bad", nothing, page, func(*answer) { held.Add(1); <-read; held.Add(-1); sent.Add(1) })
			var failure *wire.Error
			if errors.As(err, &failure) && failure.Reason == wire.Overloaded {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		}
		for range 50 {
			go ask(10 * time.Second)
		}
		for range 50 {
			go ask(time.Minute)
		}
		synctest.Wait()
		if n := held.Load(); n < 1 || n*long > maxUnread/2 {
			t.Errorf("%d pages of 10 MiB are held", n)
		}
		if n := made.Load() - held.Load(); n > makersEach {
			t.Errorf("%d more are made", n)
		}
		if err := room.serve(t.Context(), "good", nothing, page, func(*answer) {}); err != nil {
			t.Error("another tenant's page:", err)
		}
		time.Sleep(20 * time.Second)
		if n := refused.Load(); n < 40 {
			t.Errorf("%d of 50 were refused when their time was up", n)
		}
		close(read)
		synctest.Wait()
		if n := sent.Load() + refused.Load(); n != 100 || room.bytes != 0 || len(room.tenants) != 0 {
			t.Errorf("%d have ended; %d bytes and %d tenants are left", n, room.bytes, len(room.tenants))
		}
	})
}

// Those who are sent the same page count once, and a page that is longer than all
// the room there is is sent all the same.
func TestAPageThatManyReadCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var room pageRoom
		same := &answer{body: make([]byte, maxUnread+1)}
		read := make(chan struct{})
		var held atomic.Int64
		for range 20 {
			go func() {
				if err := room.serve(t.Context(), "a", func() *answer { return same }, nil, func(*answer) { held.Add(1); <-read }); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if held.Load() != 20 || room.bytes != len(same.body) {
			t.Errorf("%d read, and %d bytes count", held.Load(), room.bytes)
		}
		close(read)
		synctest.Wait()
	})
}
