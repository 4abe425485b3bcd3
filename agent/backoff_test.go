package agent

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

func TestDialsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		relay.refuse = refuseWith(http.StatusBadGateway, "")
		start(t, relay.network, nil)
		bound, total := 500*time.Millisecond, time.Duration(0)
		last := <-relay.dials
		for range 40 {
			next := <-relay.dials
			if wait := next.Sub(last); wait > bound {
				t.Errorf("waited %v, which is over %v", wait, bound)
			}
			total += next.Sub(last)
			bound = min(2*bound, 30*time.Second)
			last = next
		}
		if total < 3*time.Minute { // 8.6 minutes on average
			t.Errorf("40 dials in %v", total)
		}
	})
}

func TestRetryAfterWins(t *testing.T) {
	for says, bound := range map[string]time.Duration{"100": 100 * time.Second, "1000000000": maxRetryAfter} {
		synctest.Test(t, func(t *testing.T) {
			relay := newFakeRelay(t)
			relay.refuse = refuseWith(http.StatusServiceUnavailable, says)
			start(t, relay.network, nil)
			last, longest := <-relay.dials, time.Duration(0)
			for range 30 {
				select {
				case next := <-relay.dials:
					longest = max(longest, next.Sub(last))
					last = next
				case <-time.After(bound + time.Second):
					t.Fatalf("told %s s: not back after %v", says, bound)
				}
			}
			if longest > bound || longest < bound/3 {
				t.Errorf("told %s s: the longest wait was %v", says, longest)
			}
		})
	}
}

func TestAfterAStableLinkItIsBackWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		l := relay.link()
		l.welcome(1)
		for range 3 {
			time.Sleep(5 * time.Second)
			l.ping(1)
		}
		<-relay.dials
		relay.refuse = refuseWith(http.StatusBadGateway, "")
		lost := time.Now()
		l.close(wire.CauseLost)
		l.conn.CloseNow()
		for last := lost; last.Sub(lost) < 4*time.Second; {
			next := <-relay.dials
			if wait := next.Sub(last); wait > time.Second {
				t.Errorf("waited %v, %v after the loss", wait, last.Sub(lost))
			}
			last = next
		}
	})
}

func TestYoungLinksThatAreLostBackOffToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newFakeRelay(t)
		start(t, relay.network, nil)
		begin := time.Now()
		for i := range 20 {
			l := relay.link()
			l.welcome(1)
			if i%2 == 0 { // and draining is no way around it
				l.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(&wire.Drain{Cause: "shutdown"})})
			}
			synctest.Wait()
			l.close(wire.CauseDrained)
		}
		if took := time.Since(begin); took < 30*time.Second {
			t.Errorf("20 links in %v", took)
		}
	})
}

// Who has lost a stable link dials anew within a second, for five; not so who has lost
// it with his token, which is no better the next time.
func TestWhoseTokenWasTakenBackIsNotEager(t *testing.T) {
	const rounds = 30
	dials := make(map[wire.Cause]int)
	for _, cause := range []wire.Cause{wire.CauseLost, wire.CauseRevoked} {
		for range rounds {
			synctest.Test(t, func(t *testing.T) {
				relay := newFakeRelay(t)
				var refuses atomic.Bool
				no := refuseWith(http.StatusUnauthorized, "")
				relay.refuse = func(w http.ResponseWriter, r *http.Request) bool { return refuses.Load() && no(w, r) }
				start(t, relay.network, nil)
				l := relay.link()
				l.welcome(1)
				time.Sleep(stable)
				<-relay.dials
				refuses.Store(true)
				l.close(cause)
				for over := time.After(eager); ; dials[cause]++ {
					select {
					case <-relay.dials:
						continue
					case <-over:
					}
					break
				}
			})
		}
	}
	if lost, revoked := dials[wire.CauseLost], dials[wire.CauseRevoked]; lost < 7*rounds || revoked > 6*rounds {
		t.Errorf("in %d times five seconds %d dials after a loss, %d with a token that was taken back", rounds, lost, revoked)
	}
}

func TestWhoIsSupersededStaysAwayLong(t *testing.T) {
	for _, cause := range []wire.Cause{wire.CauseSuperseded, wire.CauseNameTaken} {
		synctest.Test(t, func(t *testing.T) {
			relay := newFakeRelay(t)
			start(t, relay.network, nil)
			first := relay.link()
			first.welcome(2)
			second := relay.link()
			second.welcome(2)
			time.Sleep(stable)
			for _, least := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 60 * time.Second, 60 * time.Second} {
				for _, l := range []*fakeLink{first, second} {
					if l != nil {
						l.close(cause)
					}
				}
				closed := time.Now()
				first, second = relay.link(), nil
				if away := time.Since(closed); away < least || away > 2*least {
					t.Errorf("%v: back after %v, not %v", cause, away, least)
				}
			}
			first.welcome(1) // the other has gone
			time.Sleep(stable)
			first.close(cause)
			closed := time.Now()
			relay.link()
			if away := time.Since(closed); away > 20*time.Second {
				t.Errorf("%v: of another duplicate, back after %v", cause, away)
			}
		})
	}
}
