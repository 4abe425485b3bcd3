package main

import (
	"fmt"

	"github.com/farscrape/farscrape/scripts/rig"
)

// routeCounts are scrapes by the way that they went, which only a replica knows where a
// balancer chose the replica. One that stops has counted no further than it was read.
type routeCounts map[string]float64

// countRoutes counts from now on.
func (t *trial) countRoutes() routeCounts {
	c := make(routeCounts)
	for _, r := range t.Replicas {
		c.add(r, -1)
	}
	return c
}

// leave adds what a replica has counted in this life.
func (c routeCounts) leave(r *rig.Replica) { c.add(r, 1) }

func (c routeCounts) add(r *rig.Replica, sign float64) {
	for _, route := range []string{"local", "bus"} {
		c[route] += sign * rig.Metric(r.Ops, "farscrape_relay_scrapes_total", `route="`+route+`"`)
	}
}

func (c routeCounts) String() string {
	return fmt.Sprintf("%.0f local, %.0f over the bus", c["local"], c["bus"])
}
