package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
	"github.com/redis/go-redis/v9"
)

// A deafness is a Redis that does not answer to pipelines with a certain argument, for as
// long as that is so.
type deafness struct {
	redis.Hook
	arg any
	on  atomic.Bool
	met atomic.Int64
}

func (d *deafness) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (d *deafness) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (d *deafness) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			for _, arg := range cmd.Args() {
				if arg == d.arg && d.on.Load() {
					d.met.Add(1)
					err := errors.New("no answer")
					for _, cmd := range cmds {
						cmd.SetErr(err)
					}
					return err
				}
			}
		}
		return next(ctx, cmds)
	}
}

// A list that nobody names goes, even if Redis did not answer when that was to be said.
func TestAListGoesWhoseNameCouldNotBeTakenOut(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	const unnamed = 1234 * time.Millisecond
	deaf := &deafness{arg: unnamed.Milliseconds()}
	r := open(t, store.RedisConfig{URL: server.URL(), Keep: time.Hour})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	client.AddHook(deaf)
	r.UseDirectory(client)
	pace := prompt
	pace.Unnamed, pace.Look = unnamed, 50*time.Millisecond
	r.SetPace(pace)
	run(t, r)
	l := r.declaring(t, "a", long(30))
	storetest.WaitUntil(t, within, "it stands alone", func() bool { return len(lists(server)) == 1 })
	deaf.on.Store(true)
	r.Update(l.Link, long(30, wire.Target{Name: "replaced"}))
	storetest.WaitUntil(t, within, "the next does, too", func() bool { return deaf.met.Load() > 0 && len(lists(server)) == 2 })
	deaf.on.Store(false)
	storetest.WaitUntil(t, within, "the last is the only one that is to stay", func() bool { return len(lists(server)) == 1 })
	storetest.WaitUntil(t, within, "the first has gone", func() bool { return len(allLists(server)) == 1 })
	if !r.have(t, l, long(30, wire.Target{Name: "replaced"}))() {
		t.Error("the agent has not the last of its lists")
	}
}
