package recorder_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/farscrape/farscrape/relay/recorder"
	"github.com/farscrape/farscrape/relay/wire"
)

// kept are the events that a recorder lets through.
type kept []wire.Event

func (k *kept) Record(e wire.Event) { *k = append(*k, e) }

// of counts the events of a tenant and a kind.
func (k *kept) of(tenant string, kind wire.EventKind) (n int) {
	for _, e := range *k {
		if e.Tenant == tenant && e.Kind == kind {
			n++
		}
	}
	return n
}

// A fleet has so many replicas.
type fleet int

func (f fleet) Replicas() int { return int(f) }

func newRecorder() (*recorder.Recorder, *kept, prometheus.Counter) {
	k := new(kept)
	r, left := recorderInto(k, 1)
	return r, k, left
}

// recorderInto is of one of so many replicas, which have the same journals.
func recorderInto(k *kept, replicas int) (*recorder.Recorder, prometheus.Counter) {
	left := prometheus.NewCounter(prometheus.CounterOpts{Name: "left_out"})
	return recorder.New("0123456789abcdef", k, fleet(replicas), left), left
}

func event(tenant, agent string, kind wire.EventKind) wire.Event {
	return wire.Event{Kind: kind, AgentKey: wire.AgentKey{Tenant: tenant, Agent: agent}}
}

// pass lets time pass as a replica does.
func pass(r *recorder.Recorder, d time.Duration) {
	const step = 10 * time.Second
	for ; d > 0; d -= step {
		time.Sleep(step)
		r.Forgive(step)
	}
}

// A fleet of 10,000 that comes back is told of, link for link.
func TestAFleetComesBack(t *testing.T) {
	r, k, left := newRecorder()
	for i := range 10_000 {
		r.Record(event("t", fmt.Sprint("a", i), wire.EventLinked), fmt.Sprint(i))
	}
	if n := k.of("t", wire.EventLinked); n != 10_000 || testutil.ToFloat64(left) != 0 {
		t.Errorf("%d are told of, %v left out", n, testutil.ToFloat64(left))
	}
}

// An agent has so many of each kind, and so many more in time; the journal says how
// many there were besides, of a few tokens of a tenant.
func TestAnAgentsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, k, left := newRecorder()
		flap := func() {
			r.Record(event("t", "a", wire.EventLinked), "1")
			r.Record(event("t", "a", wire.EventClosed), "1")
		}
		for range 100 {
			flap()
		}
		r.Record(event("t", "a", wire.EventRefused), "1")
		if k.of("t", wire.EventLinked) != 6 || k.of("t", wire.EventClosed) != 6 || k.of("t", wire.EventRefused) != 1 {
			t.Errorf("%+v", *k)
		}
		pass(r, 10*time.Minute)
		last := (*k)[len(*k)-1]
		if last.Kind != wire.EventLeftOut || last.Agent != "a" || !strings.HasPrefix(last.Detail, "188 more events") || k.of("t", wire.EventLeftOut) != 1 {
			t.Errorf("%+v", last)
		}
		if n := testutil.ToFloat64(left); n != 188 {
			t.Errorf("%v are counted", n)
		}
		before := len(*k)
		for range 24 * 360 { // ten seconds each
			flap()
			pass(r, 10*time.Second)
		}
		if n := len(*k) - before; n > 600 {
			t.Errorf("an agent that flaps makes %d events in a day", n)
		}
		for i := range 1000 {
			for range 7 {
				r.Record(event("u", fmt.Sprint("x", i), wire.EventLinked), fmt.Sprint(i))
			}
		}
		pass(r, 10*time.Minute)
		if n := k.of("u", wire.EventLeftOut); n != 64 {
			t.Errorf("%d tokens of a tenant are told of", n)
		}
	})
}

func TestAnEventIsCompleted(t *testing.T) {
	r, k, _ := newRecorder()
	e := event("t", "a", wire.EventRefused)
	e.Detail = strings.Repeat("x", 10_000)
	r.Record(e, "1")
	got := (*k)[0]
	if got.Replica != "0123456789abcdef" || time.Since(got.Time) > time.Minute || got.Check() != nil {
		t.Errorf("%+v", got)
	}
}
