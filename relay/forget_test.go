package relay_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farscrape/farscrape/relay"
	"github.com/farscrape/farscrape/relay/wire"
)

func wantForgotten(t *testing.T, r *replica, want wire.Reason) {
	t.Helper()
	err := r.Forget(context.Background(), wire.AgentKey{Tenant: wire.DefaultTenant, Agent: "edge"})
	var failure *wire.Error
	if err != nil && !errors.As(err, &failure) {
		t.Fatalf("%T %v", err, err)
	}
	if got := (result{err: failure}).reason(); got != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestOnlyADepartedAgentIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		owner, other := c.replicas[0], c.replicas[1]
		wantForgotten(t, other, wire.AgentUnknown)
		time.Sleep(time.Second) // what is not there is looked for anew

		a := owner.dial(dialOptions{})
		a.serve("up 1\n")
		wantBody(t, <-other.scrape(time.Second), "up 1\n") // which knows the route now
		for _, r := range c.replicas {
			wantForgotten(t, r, wire.BadRequest)
		}

		_ = a.conn.CloseNow()
		synctest.Wait()
		wantReason(t, <-owner.scrape(time.Second), wire.AgentOffline) // and now knows that it is gone
		b := owner.dial(dialOptions{})
		wantForgotten(t, other, wire.BadRequest)

		_ = b.conn.CloseNow()
		synctest.Wait()
		wantForgotten(t, other, wire.OK)
		for _, r := range c.replicas {
			wantReason(t, <-r.scrape(time.Second), wire.AgentUnknown)
		}
	})
}

// late is a directory in which an agent links just before it is forgotten.
type late struct {
	counted
	link func()
}

func (d late) Forget(ctx context.Context, k wire.AgentKey) error {
	d.link()
	return d.counted.Forget(ctx, k)
}

func TestAnAgentThatLinksWhileItIsForgottenIsLinked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *replica
		c := newCluster(t, 1, func(c *relay.Config) {
			c.Directory = late{c.Directory.(counted), func() { r.dial(dialOptions{}).serve("up 1\n") }}
		})
		r = c.replicas[0]
		_ = r.dial(dialOptions{}).conn.CloseNow()
		synctest.Wait()
		wantForgotten(t, r, wire.BadRequest)
		wantBody(t, <-r.scrape(time.Second), "up 1\n")
	})
}

func TestNobodyIsForgottenWhileTheDirectoryIsAway(t *testing.T) {
	c := newCluster(t, 1, func(c *relay.Config) { c.Directory = away{c.Directory.(counted)} })
	wantForgotten(t, c.replicas[0], wire.BusUnavailable)
	c.replicas[0].dial(dialOptions{}) // local only
	wantForgotten(t, c.replicas[0], wire.BadRequest)
}
