package attempt_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/farscrape/farscrape/relay/attempt"
	"github.com/farscrape/farscrape/relay/wire"
)

// An other is the other end of the attempts of one route: what asks, and how much
// it may be told.
type other struct {
	mu     sync.Mutex
	key    wire.AttemptKey
	to     wire.Receiver
	credit int64
	asked  chan struct{} // closed with the first request
	passed []wire.Type
}

func (o *other) Request(k wire.AttemptKey, q *wire.Request, to wire.Receiver) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.key, o.to, o.credit = k, to, int64(q.Credit)
	close(o.asked)
}

func (o *other) Pass(f wire.Frame) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.passed = append(o.passed, f.Type)
	if n, err := wire.ParseCredit(f.Payload); f.Type == wire.TypeCredit && err == nil {
		o.credit += int64(n)
	}
	return nil
}

func (o *other) head(fields ...wire.Field) {
	h := wire.Head{Status: 200, Header: fields}
	o.to.Receive(o.key.Frame(wire.TypeHead, h.Append(nil)))
}

func (o *other) data(piece []byte) { o.to.Receive(o.key.Frame(wire.TypeData, piece)) }

func (o *other) end(why *wire.Error) {
	o.to.Receive(o.key.Frame(wire.TypeEnd, wire.End{Failure: why}.Append(nil)))
}

func (o *other) granted() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.credit
}

// nowhere is a router that knows no other way.
type nowhere struct{ lastLength int64 }

func (nowhere) Find(_ context.Context, k wire.AgentKey, _ *wire.Scrape, _ []wire.LinkID) (*wire.Route, *wire.Error) {
	return nil, wire.Errorf(wire.AgentOffline, "agent %s is known but not linked", k.Agent)
}
func (nowhere) Forget(wire.AgentKey)                     {}
func (n nowhere) LastLength(wire.AgentKey, string) int64 { return n.lastLength }
func (nowhere) SetLength(wire.AgentKey, string, int64)   {}

// An edge makes attempts over routes whose other ends the test plays.
type edge struct {
	*attempt.Attempts
	t    *testing.T
	mu   sync.Mutex
	ends map[*wire.Route]*other
}

func newEdge(t *testing.T, n nowhere) *edge {
	e := &edge{t: t, ends: make(map[*wire.Route]*other)}
	e.Attempts = attempt.New(attempt.Config{
		Router: n, RoundTrip: func() time.Duration { return time.Millisecond },
		Hop: func(rt *wire.Route) attempt.Hop {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.ends[rt]
		},
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	return e
}

type result struct {
	*wire.Answer
	failure *wire.Error
}

// scrape begins a scrape and returns its other end once that was asked.
func (e *edge) scrape(local bool, tenant, agent string) (*other, chan result) {
	rt := &wire.Route{Agent: wire.AgentKey{Tenant: tenant, Agent: agent}, Target: "node", Replica: "another", Local: local}
	o := &other{asked: make(chan struct{})}
	e.mu.Lock()
	e.ends[rt] = o
	e.mu.Unlock()
	done := make(chan result, 1)
	go func() {
		a, failure := e.Scrape(e.t.Context(), &wire.Scrape{Tenant: tenant, Agent: agent, Target: "node"}, rt, func() {})
		done <- result{a, failure}
	}()
	<-o.asked
	return o, done
}

func TestAnAnswerThatFailsAfterItsDeliveryBeganIsNotWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, done := newEdge(t, nowhere{}).scrape(true, "default", "edge")
		o.head()
		for o.granted() > wire.HoldReserve+1 {
			o.data(make([]byte, wire.HoldReserve))
			o.credit -= wire.HoldReserve
			synctest.Wait()
		}
		a := <-done
		o.end(wire.Errorf(wire.TargetBadAnswer, "broke off"))
		if a.failure != nil || a.Whole || a.Length >= 0 {
			t.Fatalf("%v; whole %v, length %d", a.failure, a.Whole, a.Length)
		}
		if _, err := io.ReadAll(a.Body); err == nil {
			t.Error("the body has no error")
		}
		_ = a.Body.Close()
	})
}

// Pieces larger and smaller than those a body is kept in are put together. All of
// them are fewer bytes than make a body worth delivering before its end.
func TestABodyComesAsItWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, done := newEdge(t, nowhere{lastLength: wire.LocalWindow}).scrape(false, "default", "edge")
		o.head()
		const large = 64 << 10
		var sent []byte
		for i, n := range []int{1, large / 2, large/2 - 1, 2, large/2 + 9, large - 1, 3} {
			piece := bytes.Repeat([]byte{byte(i)}, n)
			sent = append(sent, piece...)
			o.data(piece)
		}
		o.end(nil)
		a := <-done
		if a.failure != nil || !a.Whole || a.Length != int64(len(sent)) {
			t.Fatalf("%v; whole %v, length %d", a.failure, a.Whole, a.Length)
		}
		var got bytes.Buffer
		if _, err := io.CopyN(&got, struct{ io.Reader }{a.Body}, 5); err != nil { // by Read, and the rest by WriteTo
			t.Fatal(err)
		}
		if _, err := io.Copy(&got, a.Body); err != nil || !bytes.Equal(got.Bytes(), sent) {
			t.Errorf("%d bytes of %d, or others: %v", got.Len(), len(sent), err)
		}
		_ = a.Body.Close()
	})
}

// Agents of one tenant begin answers and send as much of each as they may, end some
// of them, and nobody reads any. What they may send is bounded, another tenant's
// answer has a window, and nothing is lent once nobody waits.
func TestWhatAnswersMayHoldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const agents, each = 16, 256
		e := newEdge(t, nowhere{})
		var all []chan result
		begin := func(tenant, agent string) *other {
			o, done := e.scrape(true, tenant, agent)
			o.head()
			all = append(all, done)
			return o
		}
		var granted int64
		for i := range agents * each {
			o := begin("bad", fmt.Sprint(i%agents))
			granted += o.granted()
			for sent := int64(0); sent < o.granted(); sent += 4 << 10 {
				o.data(make([]byte, 4<<10))
			}
			if i%2 == 0 {
				o.end(nil)
			}
		}
		if most := int64(64<<20 + agents*each*wire.BusWindow); granted > most {
			t.Errorf("%d MiB may come, of %d", granted>>20, most>>20)
		}
		o := begin("good", "edge")
		if n := o.granted(); n < wire.LocalWindow {
			t.Errorf("another tenant's answer begins with %d KiB", n>>10)
		}
		o.end(nil)
		for _, done := range all {
			a := <-done
			if a.failure != nil {
				t.Fatal(a.failure)
			}
			_ = a.Body.Close()
		}
		o = begin("bad", "0")
		if n := o.granted(); n < wire.LocalWindow {
			t.Errorf("once nobody waits an answer begins with %d KiB", n>>10)
		}
		o.end(nil)
		_ = (<-all[len(all)-1]).Body.Close()
	})
}
