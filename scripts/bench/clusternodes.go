package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
	"github.com/farscrape/farscrape/store/storetest"
)

// nodeFigures are what one node of a Cluster has done, in the order of the table:
// messages of pub/sub that other nodes sent it, kB from clients and to them, kB from
// nodes and to them, processor time in ms.
type nodeFigures [6]float64

// worked is what all nodes have done, up to some moment or since another.
type worked struct {
	at     time.Time
	length time.Duration // since the other
	nodes  []nodeFigures
}

func (w worked) since(before worked) worked {
	w.length = w.at.Sub(before.at)
	for n := range w.nodes {
		for i := range w.nodes[n] {
			w.nodes[n][i] -= before.nodes[n][i]
		}
	}
	return w
}

// worked is what the nodes have done so far.
func (c *clustered) worked() worked {
	w := worked{at: time.Now()}
	for _, n := range c.nodes() {
		w.nodes = append(w.nodes, c.nodeFigures(n))
	}
	return w
}

// nodeFigures takes the bytes between nodes, which Redis does not count, for those that
// its process has read and written and that were no client's: it writes no file.
func (c *clustered) nodeFigures(n *storetest.RedisServer) nodeFigures {
	info := n.Do("CLUSTER", "INFO")
	messages := infoNumber(info, "cluster_stats_messages_publish_received") + infoNumber(info, "cluster_stats_messages_publishshard_received")
	stats := c.redisInfo(n.Addr(), "stats")
	in, out := infoNumber(stats, "total_net_input_bytes"), infoNumber(stats, "total_net_output_bytes")
	var read, written float64
	content, err := os.ReadFile(fmt.Sprintf("/proc/%.0f/io", infoNumber(c.redisInfo(n.Addr(), "server"), "process_id")))
	c.Must(err)
	_, err = fmt.Sscanf(string(content), "rchar: %g\nwchar: %g\n", &read, &written)
	c.Must(err)
	return nodeFigures{messages, in / 1e3, out / 1e3, (read - in) / 1e3, (written - out) / 1e3, milliseconds(c.redisCPU(n.Addr()))}
}

// inboxes is how many of the replicas' each master has.
func (c *clustered) inboxes() string {
	count := make([]int, len(c.Masters))
	for _, inbox := range rig.Inboxes(c.RedisCluster) {
		count[c.Owner(inbox)]++
	}
	return strings.Trim(fmt.Sprint(count), "[]")
}
