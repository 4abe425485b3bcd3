package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
	"github.com/farscrape/farscrape/store/storetest"
)

const (
	// pacedRate is how many scrapes a second go over the bus of each Cluster: few enough
	// for two processors that have seven nodes, replicas and agents to run.
	pacedRate = 200
	// clusterRest is how long the nodes are watched without any: what they then say to
	// each other is no scrape's.
	clusterRest = 5 * time.Second
)

// A clustered is replicas on a Cluster, each with an agent that is scraped through the
// next one.
type clustered struct {
	*bench
	*storetest.RedisCluster
	pubsub string
}

// cluster measures what scrapes over the bus have the nodes of a Cluster do.
func (b *bench) cluster() int {
	p, err := newPayload(b.sizes[0], !b.identity)
	b.Must(err)
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(b.out, "\n%d scrapes/s of %s (%d bytes on the wire) over the bus of %d replicas for %v; of a scrape, beyond rest: least/median/most of the masters, and all nodes, which are the masters and a replica of the first\n",
		pacedRate, b.sizes[0], len(p.body), b.replicas, b.length)
	fmt.Fprintln(w, "masters\tpub/sub\tinboxes\tscrapes/s\tp50 ms\tp99 ms\tfailed\tmessages from nodes\tkB from clients\tkB to clients\tkB from nodes\tkB to nodes\tCPU ms")
	status := 0
	for _, masters := range []int{1, 3, 6} {
		for _, pubsub := range []string{"plain", "sharded"} {
			if b.startCluster(masters, pubsub).measureNodes(w, p) > 0 {
				status = 1
			}
			b.Clear()
			b.Replicas = nil
		}
	}
	_ = w.Flush()
	return status
}

func (b *bench) startCluster(masters int, pubsub string) *clustered {
	c := &clustered{bench: b, RedisCluster: storetest.StartClusterOf(b.Rig, masters), pubsub: pubsub}
	for _, m := range c.Masters {
		b.Seed(m)
	}
	b.RedisURL = c.URL()
	for i := range b.replicas {
		b.startReplica(fmt.Sprintf("relay-%d", i), "FARSCRAPE_REDIS_PUBSUB="+pubsub)
	}
	return c
}

// nodes are the masters, and then the replica of the first.
func (c *clustered) nodes() []*storetest.RedisServer {
	return append(slices.Clone(c.Masters), c.Replica)
}

// measureNodes scrapes for a while, prints a row, and says how many scrapes failed.
func (c *clustered) measureNodes(w *tabwriter.Writer, p *payload) (failed int) {
	target := c.startTarget([]*payload{p})
	var ways []way
	token := "Authorization: Bearer " + c.Mint("-scraper", "bench") + "\r\n"
	for i, r := range c.Replicas {
		name := agentName(i)
		a := c.StartAgent(name, rig.AgentEnv(name, r.URL(""), c.Mint("-agent", name), "FARSCRAPE_TARGETS="+target.declared(), "FARSCRAPE_LINKS=1", "FARSCRAPE_LOG_LEVEL=warn"))
		c.Until(rig.Patience, name+" is linked", func() bool { return a.Links() == 1 })
		way, err := through("", c.Replicas[(i+1)%len(c.Replicas)].URL("/scrape/"+name+"/"+p.target()), token)
		c.Must(err)
		ways = append(ways, way)
	}
	sharded := 0.0
	if c.pubsub == "sharded" {
		sharded = float64(len(c.Replicas) - 1)
	}
	for _, r := range c.Replicas {
		c.Until(rig.Patience, r.Name+" knows how the others listen", func() bool {
			return rig.Metric(r.Ops, "farscrape_relay_bus_sharded_replicas") == sharded
		})
	}
	c.paceFor(warmUp, c.scrapers, pacedRate, ways, p)
	before := c.worked()
	c.Wait(clusterRest)
	rest := c.worked().since(before)
	before = c.worked()
	f := c.paceFor(c.length, c.scrapers, pacedRate, ways, p)
	busy := c.worked().since(before)

	fmt.Fprintf(w, "%d\t%s\t%s\t%.0f\t%.2f\t%.2f\t%d %s", len(c.Masters), c.pubsub, c.inboxes(), f.perSecond(), milliseconds(f.quantile(0.5)), milliseconds(f.quantile(0.99)), f.failed, f.why)
	for i := range busy.nodes[0] {
		var each []float64
		all := 0.0
		for n := range busy.nodes {
			x := busy.nodes[n][i] - rest.nodes[n][i]*busy.length.Seconds()/rest.length.Seconds()
			x = max(x, 0) / float64(max(f.scrapes, 1)) // rest is not quite the same twice
			all += x
			if n < len(c.Masters) {
				each = append(each, x)
			}
		}
		slices.Sort(each)
		fmt.Fprintf(w, "\t%.2f/%.2f/%.2f all %.2f", each[0], middle(each), each[len(each)-1], all)
	}
	fmt.Fprintln(w)
	c.say("%d masters, %s: %.0f scrapes/s, %d failed", len(c.Masters), c.pubsub, f.perSecond(), f.failed)
	return f.failed
}
