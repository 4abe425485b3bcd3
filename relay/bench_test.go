package relay_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// What a scrape costs the relay, and a fake agent, without a network and without
// HTTP:
//
//	go test -run - -bench Scrape -benchmem -count 10 ./relay | tee new.txt; benchstat old.txt new.txt
func BenchmarkScrape(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"2kB", 2_300}, {"15kB", 15_000}} {
		for route, edge := range map[string]int{"local": 0, "bus": 1} {
			b.Run(route+"/"+size.name, func(b *testing.B) {
				c := newCluster(b, 2)
				c.replicas[0].dial(dialOptions{}).serve(strings.Repeat("x", size.n))
				s := &wire.Scrape{Tenant: wire.DefaultTenant, Agent: "edge", Target: "node",
					Header: []wire.Field{{Name: "Accept", Value: "text/plain"}, {Name: "Accept-Encoding", Value: "gzip"}}}
				scrape := func() {
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					defer cancel()
					answer, err := c.replicas[edge].Scrape(ctx, s)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.Copy(io.Discard, answer.Body); err != nil || n != int64(size.n) {
						b.Fatalf("%d bytes, %v", n, err)
					}
					_ = answer.Body.Close()
				}
				scrape() // warms the route
				b.SetBytes(int64(size.n))
				b.ReportAllocs()
				for b.Loop() {
					scrape()
				}
			})
		}
	}
}

// What the heartbeat costs a replica by itself: 4,000 links, of none of which
// anything is due.
//
//	go test -run - -bench Tick -count 10 ./relay | tee new.txt; benchstat old.txt new.txt
func BenchmarkTick(b *testing.B) {
	r := startCluster(b, 1, true).replicas[0]
	for i := range 4000 {
		r.dial(dialOptions{name: fmt.Sprintf("edge%d", i)})
	}
	now := time.Now().Add(time.Second)
	r.Tend(now) // pings all
	b.ReportAllocs()
	for b.Loop() {
		r.Tend(now)
	}
}
