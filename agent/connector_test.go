package agent

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestAsManyLinksAsReplicasUpToTheWish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		a := start(t, relay.network, nil)
		first := relay.link()
		welcome := first.welcome(1)
		relay.noMoreLinks()
		first.ping(2) // a second replica has come
		second := relay.link()
		if second.header.Get(wire.HeaderHeld) != string(welcome.Replica) || len(second.hello.Held) != 1 || second.hello.Held[0] != welcome.Link ||
			second.hello.Epoch != 7 || second.hello.Instance != first.hello.Instance {
			t.Errorf("the second: held %s, %+v", second.header.Get(wire.HeaderHeld), second.hello)
		}
		second.welcome(5)
		relay.noMoreLinks()
		if got := metricLines(t, a, "farscrape_agent_links"); got != "farscrape_agent_links 2\nfarscrape_agent_links_wanted 2\n" {
			t.Errorf("counted %s", got)
		}
	})
}

func TestAReplicaThatIsHeldIsMetAgainWithinRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		var conflicts atomic.Int32
		relay.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			return r.Header.Get(wire.HeaderHeld) != "" && conflicts.Add(1) <= 20 && refuseWith(http.StatusConflict, "2")(w, r)
		}
		start(t, relay.network, nil)
		l := relay.link()
		l.welcome(2)
		l.stayAlive(2)
		<-relay.dials
		last := <-relay.dials
		for i := range 20 {
			next := <-relay.dials
			bound := 2 * time.Second
			if i >= patience {
				bound = min(backoffCap, bound<<(i+1-patience)) // it seems to be always the same one
			}
			if wait := next.Sub(last); wait > bound {
				t.Errorf("dial %d came after %v", i, wait)
			}
			last = next
		}
		relay.link().welcome(2)
	})
}

func TestADrainedLinkServesUntilItsSuccessorIsRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, serve(t, text("up")))
		old := relay.link()
		welcome := old.welcome(1)
		time.Sleep(stable)
		relay.refuse = refuseWith(http.StatusServiceUnavailable, "300")
		old.ping(2) // it asks for a second link, and is told to wait
		synctest.Wait()
		relay.refuse = nil
		drained := time.Now()
		old.drain("max_age")
		next := relay.link()
		if wait := time.Since(drained); wait != 0 {
			t.Errorf("dialled after %v", wait)
		}
		if next.header.Get(wire.HeaderHeld) != string(welcome.Replica) {
			t.Errorf("held %q", next.header.Get(wire.HeaderHeld))
		}
		old.ping(1)
		next.welcome(1, func(w *wire.Welcome) { w.Registered, w.Epoch = false, 0 })
		synctest.Wait()
		if r := old.reply(old.request("app")); r.reason() != wire.OK {
			t.Errorf("while local only: %v", r.reason())
		}
		next.welcome(1)
		d, err := wire.ParseDrain(old.expect(wire.TypeDrain).Payload)
		if err != nil || d.Cause != "moved" {
			t.Errorf("said %+v, %v", d, err)
		}
		if r := old.reply(old.request("app")); r.reason() != wire.OK {
			t.Errorf("after it moved: %v", r.reason())
		}
		old.close(wire.CauseDrained)
		relay.noMoreLinks()
	})
}

func TestAnOldLinkMovesToTheSameReplicaIfThereIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		old := relay.link()
		welcome := old.welcome(1)
		time.Sleep(stable)
		old.drain("max_age")
		next := relay.link()
		if held := next.header.Get(wire.HeaderHeld); held != "" || len(next.hello.Held) != 1 {
			t.Errorf("held replicas %q, links %v", held, next.hello.Held)
		}
		next.welcome(1, func(w *wire.Welcome) { w.Replica = welcome.Replica })
		old.expect(wire.TypeDrain)
	})
}

func TestWithoutAnotherReplicaADrainedLinkServesToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		var held atomic.Bool
		relay.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			return held.Load() && refuseWith(http.StatusConflict, "1")(w, r)
		}
		start(t, relay.network, serve(t, text("up")))
		l := relay.link()
		l.welcome(1)
		held.Store(true)
		l.drain("max_age")
		for range 10 {
			time.Sleep(5 * time.Second)
			if r := l.reply(l.request("app")); r.reason() != wire.OK {
				t.Errorf("got %v", r.reason())
			}
		}
		held.Store(false)
		l.close(wire.CauseDrainTimeout)
		closed := time.Now()
		relay.link().welcome(1)
		if gap := time.Since(closed); gap > time.Second {
			t.Errorf("back after %v", gap)
		}
	})
}

func TestOneOfTwoLinksDrainsWhileThereIsOneReplicaLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		first := relay.link()
		first.welcome(2)
		second := relay.link()
		second.welcome(2)
		synctest.Wait()
		relay.refuse = refuseWith(http.StatusConflict, "1")
		first.drain("shutdown")
		time.Sleep(time.Minute / 10)
		second.ping(1) // its replica is the only one that is left
		if d, err := wire.ParseDrain(first.expect(wire.TypeDrain).Payload); err != nil || d.Cause != "moved" {
			t.Errorf("said %+v, %v", d, err)
		}
	})
}

// The replica that is about to exit counts as alive until it has: it must not
// keep the link there until it is cut.
func TestTheLinkOfAReplicaThatExitsMovesToTheOneThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.Header.Get(wire.HeaderHeld), ",") && refuseWith(http.StatusConflict, "1")(w, r)
		}
		start(t, relay.network, nil)
		staying := relay.link()
		staying.welcome(2)
		exiting := relay.link()
		exiting.welcome(2)
		time.Sleep(stable)
		exiting.ping(2)
		staying.ping(2)
		exiting.drain("shutdown")
		if d, err := wire.ParseDrain(exiting.expect(wire.TypeDrain).Payload); err != nil || d.Cause != "moved" {
			t.Errorf("said %+v, %v", d, err)
		}
	})
}
