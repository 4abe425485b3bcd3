package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

func TestAFloodOfListsWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d watched
		r := newCluster(t, 1, d.watch).replicas[0]
		one, two := []wire.Target{{Name: "one"}}, []wire.Target{{Name: "two"}}
		a := r.dial(dialOptions{targets: one})
		b := r.dial(dialOptions{name: "neighbour"})
		b.serve("up 1\n")
		flooded := make(chan struct{})
		go func() { a.declare(934_000, two, one); close(flooded) }()
		time.Sleep(10 * time.Second)
		if n := d.updates.Load(); n > 256+10*8+1 {
			t.Errorf("%d lists were taken in 10 s", n)
		}
		wantBody(t, <-r.scrape(time.Second, func(s *wire.Scrape) { s.Agent = "neighbour" }), "up 1\n")
		a.closedWith(wire.CauseProtocol) // it does not stop
		<-flooded
	})
}

// A thousand lists in one message are a thousand lists.
func TestListsThatShareAMessageWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d watched
		r := newCluster(t, 1, d.watch).replicas[0]
		one, err := wire.MarshalTargets([]wire.Target{{Name: "one"}})
		two, err2 := wire.MarshalTargets([]wire.Target{{Name: "two"}})
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		var packed []wire.Frame
		for range 500 {
			packed = append(packed, two[0], one[0])
		}
		a := r.dial(dialOptions{})
		a.silence() // its reader is not to wait for its writer
		go a.send(packed...)
		time.Sleep(5 * time.Second)
		if n := d.updates.Load(); n < 256 || n > 256+5*8+1 {
			t.Errorf("%d lists were taken in 5 s", n)
		}
		a.closedWith(wire.CauseProtocol) // the last of them would wait for 90 s
	})
}

// Whoever sends in bursts waits, and keeps its link.
func TestBurstsOfListsAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		a := r.dial(dialOptions{})
		a.serve("up 1\n")
		for range 10 {
			a.declare(256+40, []wire.Target{{Name: "node"}}, []wire.Target{{Name: "app"}, {Name: "node"}})
			time.Sleep(time.Minute)
		}
		wantBody(t, <-r.scrape(time.Second), "up 1\n")
	})
}

// Frames that belong to no scrape cost their reading, and nothing else bounds it.
func TestAFloodOfWhatNobodyAskedForEndsTheLink(t *testing.T) {
	for name, spam := range map[string]wire.Frame{
		"END of no scrape":   {Type: wire.TypeEnd, Scrape: 7, Attempt: 1, Payload: wire.End{}.Append(nil)},
		"PONG to no PING":    {Type: wire.TypePong, Payload: wire.Ping{Token: 7}.Append(nil)},
		"of a later version": {Type: 200},
		"DRAIN":              {Type: wire.TypeDrain, Payload: []byte("{}")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCluster(t, 1).replicas[0]
				r.dial(dialOptions{}).silence()
				a := r.dial(dialOptions{name: "hostile"})
				a.silence()                                                          // its reader is not to wait for its writer
				go r.scrape(time.Hour, func(s *wire.Scrape) { s.Agent = "hostile" }) // which DRAIN waits for
				synctest.Wait()
				a.flood(spam, 10)
				a.closedWith(wire.CauseProtocol)
				_, resp, err := r.tryDial(dialOptions{name: "hostile"})
				if err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
					t.Errorf("its next link is answered %v, %v", resp, err)
				}
				time.Sleep(time.Minute)
				r.dial(dialOptions{name: "hostile"})
			})
		})
	}
}

func TestFramingWithoutMessagesEndsTheLink(t *testing.T) {
	for name, c := range map[string]struct{ first, then []byte }{
		"empty fragments": {[]byte{0x02, 0x80, 0, 0, 0, 0}, []byte{0x00, 0x80, 0, 0, 0, 0}},
		"empty messages":  {nil, []byte{0x82, 0x80, 0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCluster(t, 1).replicas[0]
				a := r.dial(dialOptions{})
				a.silence()
				_, _ = a.socket.Write(c.first)
				n := 0
				for start := time.Now(); time.Since(start) < 10*time.Second && n < 100_000; n++ {
					if _, err := a.socket.Write(c.then); err != nil {
						break
					}
				}
				if n > 32<<10 {
					t.Errorf("%d were read in 10 s", n)
				}
			})
		})
	}
}

func TestPingsOfTheLibraryAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCluster(t, 1).replicas[0]
		a := r.dial(dialOptions{})
		a.silence() // its own writer is not to wait for this one
		n := 0
		for start := time.Now(); time.Since(start) < 10*time.Second && n < 100_000; n++ {
			if _, err := a.socket.Write([]byte{0x89, 0x80, 0, 0, 0, 0}); err != nil {
				break
			}
		}
		if n > 4096+11*128 {
			t.Errorf("%d pings were read in 10 s", n)
		}
	})
}

// An agent's lists wait for their turn; so do those of all that one token makes up.
func TestListsOfOneTokenWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d watched
		r := newCluster(t, 1, d.watch).replicas[0]
		one, two := []wire.Target{{Name: "one"}}, []wire.Target{{Name: "two"}}
		in := r.welcomed(r.mint(token.Agent, "x-*"), 90, func(o *dialOptions) { o.targets = one })
		for _, a := range in {
			go a.declare(1000, two, one)
		}
		b := r.dial(dialOptions{name: "neighbour"})
		b.serve("up 1\n")
		time.Sleep(9 * time.Second)
		if n := d.updates.Load(); len(in) != 90 || n < 16_000 || n > 64*256+9*16*8 {
			t.Errorf("%d lists of %d agents were taken in 9 s", n, len(in))
		}
		b.declare(2, two, []wire.Target{{Name: "node"}})
		synctest.Wait()
		wantBody(t, <-r.scrape(time.Second, func(s *wire.Scrape) { s.Agent = "neighbour" }), "up 1\n")
		for _, a := range in {
			_ = a.conn.CloseNow()
		}
	})
}
