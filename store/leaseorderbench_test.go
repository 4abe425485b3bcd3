package store_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farscrape/farscrape/store"
	"github.com/farscrape/farscrape/store/storetest"
)

// How long the directory is wrong, in whatever order things happen, at the pace that
// it has when it runs. An iteration is a minute of a relay of its own, and -cpu of them
// are under way at once:
//
//	go test -run - -bench Orders -benchtime 25x -cpu 8 -timeout 1h ./store
//
// For how long a link is not listed that is up, and listed that is not, counts from
// when that is so, or from when Redis answers again if that is later; and so does for
// how long an observer could not be told. A link is neither while two processes have its name.
func BenchmarkOrders(b *testing.B) {
	for name, chaos := range map[string]func(testing.TB, uint64, store.Pace) *chaos{"one-Redis": newChaos, "fail-over": newFailover} {
		b.Run(name, func(b *testing.B) {
			var mu sync.Mutex
			var worst model
			b.RunParallel(func(iterations *testing.PB) {
				for iterations.Next() {
					m := timesOf(b, rand.Uint64(), chaos)
					mu.Lock()
					worst.worse(m)
					mu.Unlock()
				}
			})
			b.ReportMetric(float64(worst.unlisted.took.Milliseconds()), "longest-unlisted-ms")
			b.ReportMetric(float64(worst.untold.took.Milliseconds()), "longest-untold-ms")
			b.ReportMetric(worst.dead.took.Seconds(), "longest-listed-dead-s")
			b.ReportMetric(float64(worst.owners), "owners-most")
			b.Logf("unlisted %s; untold %s; listed dead %s", worst.unlisted.how, worst.untold.how, worst.dead.how)
		})
	}
}

const (
	orderLasts    = time.Minute
	orderStep     = 1400 * time.Millisecond // at most, and then the next: what one does is to be seen
	longestOutage = 4 * time.Second
)

func timesOf(b *testing.B, seed uint64, begin func(testing.TB, uint64, store.Pace) *chaos) *model {
	one := &iteration{TB: b}
	defer one.end()
	c := begin(one, seed, store.Pace{})
	c.longest = longestOutage
	for until := time.Now().Add(orderLasts); time.Now().Before(until); {
		c.step()
		time.Sleep(time.Duration(c.rand.Int64N(int64(orderStep))))
	}
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	return &c.model
}

// newFailover is three replicas on a Redis that Sentinel watches. Its master is killed,
// once.
func newFailover(t testing.TB, seed uint64, pace store.Pace) *chaos {
	sentinel := storetest.StartSentinel(t)
	c := chaosOn(t, seed, sentinel.Master)
	for range 3 {
		r := quickly(t, store.RedisConfig{URL: sentinel.URL(), Keep: time.Hour}, pace)
		c.all = append(c.all, &mutable{replica: r})
	}
	c.begin(sentinel.URL(), pace, map[string]func(){
		"register": c.register, "register again": c.registerAgain, "release": c.release,
		"failed over": func() {
			if c.server == sentinel.Replica {
				return
			}
			c.register() // which may not have reached the other
			c.disturb(func() {
				c.server.Kill()
				c.server = sentinel.Replica
				storetest.WaitUntil(t, within, "it is the master", func() bool { return strings.Contains(c.server.Do("ROLE"), "master") })
			})
		},
	})
	return c
}

// An iteration of a benchmark cleans up when it ends, and not with all others.
type iteration struct {
	testing.TB
	mu   sync.Mutex
	ends []func()
}

func (i *iteration) Cleanup(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ends = append(i.ends, f)
}

func (i *iteration) end() {
	for n := len(i.ends); n > 0; n-- {
		i.ends[n-1]()
	}
}
