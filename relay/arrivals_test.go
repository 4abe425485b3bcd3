package relay_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// mum opens so many links that say nothing, and returns those that were let in.
func (r *replica) mum(n int, options func(i int) dialOptions) (in []*agent) {
	for i := range n {
		o := options(i)
		o.mum = true
		if a, resp, err := r.tryDial(o); err == nil {
			in = append(in, a)
		} else if resp == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			r.cluster.t.Fatalf("refused with %v, %v", resp, err)
		}
	}
	return in
}

func TestUpgradesThatSayNothingKeepNobodyOut(t *testing.T) {
	for name, c := range map[string]struct {
		hostile func(pattern string, i int) dialOptions
		places  int
	}{
		"of one agent": {func(_ string, i int) dialOptions { return dialOptions{name: "hostile"} }, 4},
		"of a pattern's made-up names": {func(pattern string, i int) dialOptions {
			return dialOptions{name: fmt.Sprintf("x-%d", i), token: pattern}
		}, 96},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCluster(t, 1).replicas[0]
				pattern := r.mint(token.Agent, "x-*")
				in := r.mum(140, func(i int) dialOptions { return c.hostile(pattern, i) })
				if len(in) != c.places {
					t.Errorf("%d of 140 upgrades were granted, want %d", len(in), c.places)
				}
				r.dial(dialOptions{name: "neighbour"})
				r.dial(dialOptions{name: "stranger", tenant: "another"})
				start := time.Now()
				for _, a := range in {
					<-a.closed
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("they had their places for %s", took)
				}
			})
		})
	}
}

func TestATenantLeavesPlacesForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		in := r.mum(200, func(i int) dialOptions { return dialOptions{name: fmt.Sprintf("x%d", i), tenant: "hostile"} })
		if len(in) != 128 {
			t.Errorf("one tenant has %d places", len(in))
		}
		for i := range 30 {
			r.dial(dialOptions{name: fmt.Sprintf("x%d", i), tenant: "another"})
		}
	})
}

func TestAHelloThatDripsIsLate(t *testing.T) {
	for name, c := range map[string]struct {
		first  []wire.Frame
		drips  wire.Frame
		within time.Duration
	}{
		"HELLO":   {nil, hello(dialOptions{name: "edge", instance: "0123456789abcdef"}), 5 * time.Second},
		"TARGETS": {[]wire.Frame{hello(dialOptions{name: "edge", instance: "0123456789abcdef"})}, wire.Frame{Type: wire.TypeTargets, Payload: make([]byte, 1<<10)}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCluster(t, 1).replicas[0]
				a := r.mum(1, func(int) dialOptions { return dialOptions{} })[0]
				start := time.Now()
				for _, f := range c.first {
					a.send(f)
				}
				message := c.drips.Append(nil)
				drip := append(binary.BigEndian.AppendUint16([]byte{0x82, 0x80 | 126}, uint16(len(message))), 0, 0, 0, 0)
				for _, b := range append(drip, message...) {
					if _, err := a.socket.Write([]byte{b}); err != nil {
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
				<-a.closed
				if took := time.Since(start); took > c.within+time.Second {
					t.Errorf("the link had %s", took)
				}
			})
		})
	}
}

func TestAnAgentHasNoMoreThan16LinksToAReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		links := 0
		for range 10 { // seconds of an agent in a hurry
			o := dialOptions{name: "edge", instance: "0123456789abcdef", token: r.mint(token.Agent, "edge")}
			var hasty sync.WaitGroup
			for _, a := range r.mum(120, func(int) dialOptions { return o }) {
				hasty.Go(func() {
					a.introduce(o)
					a.next(wire.TypeWelcome)
				})
				links++
			}
			hasty.Wait()
			time.Sleep(time.Second)
		}
		if links != 16 {
			t.Errorf("it has %d", links)
		}
	})
}

func TestAnAgentThatComesAndGoesIsSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		came := 0
		for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
			for _, a := range r.mum(1, func(int) dialOptions { return dialOptions{} }) {
				_ = a.conn.CloseNow()
				came++
			}
		}
		if came > 4*11 {
			t.Errorf("it came %d times in 10 s", came)
		}
	})
}

// welcomed links as many agents as are let in, of n whose names a pattern's token
// makes up.
func (r *replica) welcomed(pattern string, n int, change ...func(*dialOptions)) (in []*agent) {
	for i := range n {
		o := dialOptions{name: fmt.Sprint("x-", i), token: pattern}
		for _, f := range change {
			f(&o)
		}
		a, resp, err := r.tryDial(o)
		if err != nil {
			if resp == nil || resp.Header.Get(wire.HeaderError) != wire.Overloaded.String() {
				r.cluster.t.Fatalf("refused with %v, %v", resp, err)
			}
			continue
		}
		if _, linked := <-a.frames; linked { // WELCOME
			in = append(in, a)
		}
	}
	return in
}

func TestATokensLinksLeaveRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1, func(c *relay.Config) { c.LinkLimits.Links = 60 }).replicas[0]
		pattern := r.mint(token.Agent, "x-*")
		in := r.welcomed(pattern, 60)
		if len(in) != 30 {
			t.Errorf("one token has %d of 60 links", len(in))
		}
		r.dial(dialOptions{name: "neighbour"})
		if n := len(r.welcomed(r.mint(token.Agent, "x-1*"), 100, func(o *dialOptions) { o.name = "x-1" + o.name[2:] })); n < 5 {
			t.Errorf("another token of the tenant's has %d links", n)
		}
		r.dial(dialOptions{name: "stranger", tenant: "another"})
		for _, a := range in {
			_ = a.conn.CloseNow()
		}
		time.Sleep(time.Second)
		if n := len(r.welcomed(pattern, 10)); n != 10 {
			t.Errorf("the places of links that closed are given to %d of 10", n)
		}
	})
}

// Who begins a long message keeps its buffer for as long as it likes.
func TestMessagesThatNeverEndAreBoundedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		in := r.welcomed(r.mint(token.Agent, "x-*"), 600)
		begun := append([]byte{0x82, 0x80 | 126, 0xea, 0x60, 0, 0, 0, 0}, make([]byte, 8<<10)...) // of 60,000 bytes
		var read atomic.Int64
		var sending sync.WaitGroup
		for _, a := range in {
			a.silence() // its reader is not to wait for its writer
			sending.Go(func() {
				if _, err := a.socket.Write(begun); err == nil {
					read.Add(1)
				}
			})
		}
		time.Sleep(5 * time.Second)
		if n := read.Load(); len(in) != 600 || n != 512 {
			t.Errorf("%d messages of %d were begun with one token, want 512", n, len(in))
		}
		long := strings.Repeat("up 1\n", 10_000)
		for _, a := range []dialOptions{{name: "neighbour"}, {name: "stranger", tenant: "another"}} {
			r.dial(a).serve(long)
			got := <-r.scrape(time.Second, func(s *wire.Scrape) {
				s.Agent = a.name
				if a.tenant != "" {
					s.Tenant = a.tenant
				}
			})
			wantBody(t, got, long)
		}
		time.Sleep(20 * time.Second) // none waits for ever, and none of the rest is alive
		sending.Wait()
		for _, a := range in {
			<-a.closed
		}
	})
}
