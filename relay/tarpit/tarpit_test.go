package tarpit

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func newTarpit() *Tarpit { return New(prometheus.NewCounter(prometheus.CounterOpts{Name: "kept"})) }

// held is how long a refusal takes.
func (t *Tarpit) held(ctx context.Context, address string) time.Duration {
	start := time.Now()
	t.Hold(ctx, address)
	return time.Since(start)
}

func TestWhoIsRefusedOftenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTarpit()
		for i := range freeEach {
			if took := p.held(t.Context(), fmt.Sprintf("192.0.2.1:%d", i+1)); took > 0 {
				t.Fatalf("refusal %d took %s", i+1, took)
			}
		}
		if took := p.held(t.Context(), "192.0.2.1:9"); took != wait {
			t.Errorf("one more took %s", took)
		}
		if took := p.held(t.Context(), "192.0.2.2:9"); took > 0 {
			t.Errorf("another address waited for %s", took)
		}
		p.Forgive(freeHalf)
		if took := p.held(t.Context(), "192.0.2.1:9"); took > 0 {
			t.Errorf("later it took %s", took)
		}
	})
}

func TestFewWaitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTarpit()
		for range freeEach {
			p.Hold(t.Context(), "192.0.2.1")
		}
		start, late := time.Now(), make(chan bool, 4*placesEach)
		for range 2 * placesEach {
			go func() { p.Hold(t.Context(), "192.0.2.1"); late <- time.Since(start) > 0 }()
		}
		waited := 0
		for range 2 * placesEach {
			if <-late {
				waited++
			}
		}
		if waited != placesEach {
			t.Errorf("%d waited, want %d", waited, placesEach)
		}
		if took := p.held(t.Context(), "192.0.2.1"); took != wait {
			t.Errorf("the next took %s: the places are not free again", took)
		}
	})
}

func TestWhoHasGoneDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTarpit()
		for range freeEach {
			p.Hold(t.Context(), "192.0.2.1")
		}
		ctx, gone := context.WithTimeout(t.Context(), wait/4)
		defer gone()
		if took := p.held(ctx, "192.0.2.1"); took != wait/4 {
			t.Errorf("it took %s", took)
		}
	})
}
