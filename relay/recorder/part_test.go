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

// floods has one token's agents, of names that were never there before, do all that an
// agent can, so often, at a replica.
func floods(r *recorder.Recorder, tenant string, names *int, times int) {
	for range times {
		*names++
		name := fmt.Sprint("x", *names)
		for _, kind := range wire.EventKinds() {
			r.Record(event(tenant, name, kind), "pattern")
		}
		moved := event(tenant, name, wire.EventClosed)
		moved.Cause = wire.CauseDrained.String()
		r.Record(moved, "pattern")
	}
}

// Whatever one token's agents are called and do all day at all replicas, they have no
// more than half of a journal of 10,000; others find room all the time.
func TestATokenHasHalfOfAJournal(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			k, names := new(kept), 0
			var all []*recorder.Recorder
			for range replicas {
				r, _ := recorderInto(k, replicas)
				all = append(all, r)
			}
			const step = time.Minute
			for range 24 * time.Hour / step {
				for _, r := range all {
					floods(r, "t", &names, 10)
				}
				time.Sleep(step)
				for _, r := range all {
					r.Forgive(step)
				}
			}
			if n := len(*k); n > 5000 || n < 3000 {
				t.Errorf("of %d replicas one token has %d events in a day", replicas, n)
			}
			all[0].Record(event("t", "neighbour", wire.EventTargets), "its own")
			if last := (*k)[len(*k)-1]; last.Agent != "neighbour" {
				t.Error("a neighbour finds no room")
			}
		})
	}
}

// 500 side-cars of one token that lose both links and come back are told of, one by
// one, even if they were moved all day before; what is left out is one event.
func TestSideCarsOfOneTokenComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const cars = 500
		k := new(kept)
		var all []*recorder.Recorder
		var left []prometheus.Counter
		for range 2 {
			r, l := recorderInto(k, 2)
			all, left = append(all, r), append(left, l)
		}
		each := func(kind wire.EventKind, cause wire.Cause) {
			for i := range cars {
				for _, r := range all {
					e := event("t", fmt.Sprint("car", i), kind)
					if kind == wire.EventClosed {
						e.Cause = cause.String()
					}
					r.Record(e, "pattern")
				}
			}
		}
		for range 10 { // as links are moved
			each(wire.EventRotated, 0)
			each(wire.EventClosed, wire.CauseDrained)
		}
		moved := len(*k)
		each(wire.EventClosed, wire.CauseLost)
		each(wire.EventLinked, 0)
		if n := len(*k) - moved; n != 4*cars {
			t.Errorf("%d events of %d are told of", n, 4*cars)
		}
		before := len(*k)
		for range 30 {
			for _, r := range all {
				r.Forgive(0)
			}
			time.Sleep(time.Minute)
		}
		told := (*k)[before:]
		if len(told) != 2 || told[0].Kind != wire.EventLeftOut || !strings.HasSuffix(told[0].Detail, "more events of its token's agents within 20 minutes") {
			t.Fatalf("told of what was left out: %+v", told)
		}
		for i, l := range left {
			if want := fmt.Sprint(testutil.ToFloat64(l), " "); !strings.HasPrefix(told[i].Detail, want) {
				t.Errorf("%q, want %s", told[i].Detail, want)
			}
		}
	})
}

// Who holds a token for a pattern takes no share of an agent whose name it may take.
func TestANameIsEachTokensOwn(t *testing.T) {
	r, k, _ := newRecorder()
	for range 100 {
		r.Record(event("t", "victim", wire.EventRefused), "pattern")
	}
	r.Record(event("t", "victim", wire.EventRefused), "its own")
	if n := k.of("t", wire.EventRefused); n != 7 {
		t.Errorf("%d are told of", n)
	}
}
