package rig

import (
	"strings"

	"github.com/farscrape/farscrape/store/storetest"
)

// Inboxes are the channels of all replicas on a Cluster.
func Inboxes(c *storetest.RedisCluster) (channels []string) {
	const listed = "farscrape:replicas"
	ids := c.Masters[c.Owner(listed)].Do("HKEYS", listed)
	for _, id := range strings.Fields(strings.Trim(ids, "[]")) {
		channels = append(channels, "farscrape:inbox:"+id)
	}
	return channels
}
