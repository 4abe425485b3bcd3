package flight_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/farscrape/farscrape/relay/flight"
)

// Those who ask at once get one answer; who asks later, another.
func TestOneForAllWhoAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[int]
		begun, answer := 0, make(chan int)
		ask := func() int {
			n, err := g.Do(t.Context(), t.Context(), "key", func(context.Context) (int, error) { begun++; return <-answer, nil })
			if err != nil {
				t.Error(err)
			}
			return n
		}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if n := ask(); n != 1 {
					t.Errorf("got %d", n)
				}
			})
		}
		synctest.Wait()
		answer <- 1
		all.Wait()
		all.Go(func() {
			if n := ask(); n != 2 {
				t.Errorf("got %d, from a computation that was over", n)
			}
		})
		answer <- 2
		all.Wait()
		if begun != 2 {
			t.Errorf("%d computations", begun)
		}
	})
}

// A computation outlives those who gave up, and ends with the last of them.
func TestItEndsWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[int]
		ended := make(chan struct{})
		first, leaveFirst := context.WithCancel(t.Context())
		second, leaveSecond := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, ctx := range []context.Context{first, second} {
			all.Go(func() {
				_, err := g.Do(ctx, t.Context(), "key", func(ctx context.Context) (int, error) {
					<-ctx.Done()
					close(ended)
					return 0, ctx.Err()
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("answered with %v", err)
				}
			})
		}
		synctest.Wait()
		leaveFirst()
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("it ended while somebody waited")
		default:
		}
		leaveSecond()
		<-ended
		all.Wait()
	})
}
