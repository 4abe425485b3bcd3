package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// setKeys puts keys in use, the first of which signs.
func (c *cluster) setKeys(letters string) {
	c.t.Helper()
	var text strings.Builder
	for _, l := range letters {
		text.WriteString(strings.Repeat(string(l), 32) + "\n")
	}
	ring, err := token.ParseKeys([]byte(text.String()))
	if err != nil {
		c.t.Fatal(err)
	}
	c.keys.Set(ring)
}

func TestLinksEndWithTheirKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		r := c.replicas[0]
		old := r.dial(dialOptions{name: "old"})
		renewing := r.dial(dialOptions{name: "renewing"})
		renewing.serve("up 1\n")
		c.setKeys("nk")
		fresh := r.dial(dialOptions{name: "fresh"})
		time.Sleep(time.Minute)
		select {
		case <-old.closed:
			t.Fatal("a key that only signs no more ended a link")
		default:
		}

		c.setKeys("n")
		start := time.Now()
		old.wantDrain("key_removed", time.Second)
		next := r.dial(dialOptions{name: "renewing", instance: renewing.instance, epoch: renewing.welcome.Epoch})
		next.serve("up 1\n")
		renewing.send(wire.Frame{Type: wire.TypeDrain, Payload: wire.MarshalControl(wire.Drain{Cause: "moved"})})
		renewing.closedWith(wire.CauseDrained)
		wantBody(t, <-r.scrape(time.Second, func(s *wire.Scrape) { s.Agent = "renewing" }), "up 1\n")
		old.closedWith(wire.CauseRevoked)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("closed after %s", took)
		}
		if n := len(old.frames); n != 0 {
			t.Errorf("%d more frames came", n)
		}
		time.Sleep(time.Minute)
		for _, a := range []*agent{fresh, next} {
			select {
			case <-a.closed:
				t.Errorf("a link of a key that stays closed with %d", a.status)
			default:
			}
		}
	})
}

func TestAKeyThatComesBackInTimeEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		a := c.replicas[0].dial(dialOptions{})
		for range 3 {
			c.setKeys("n")
			time.Sleep(3 * time.Second)
			c.setKeys("nk")
			time.Sleep(3 * time.Second)
		}
		select {
		case <-a.closed:
			t.Errorf("the link closed with %d", a.status)
		default:
		}
	})
}
