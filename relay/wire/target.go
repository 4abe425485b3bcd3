package wire

import (
	"net"
	"strconv"
	"strings"
)

// A Target is what the relay knows of a declared scrape endpoint: enough to
// find it by name or by a proxy-mode request and to list it, and no more. Its
// URL, its query and its credentials stay with the agent.
type Target struct {
	Name    string            `json:"name"`
	Scheme  string            `json:"scheme,omitempty"`  // http or https; empty for the agent's own metrics
	Address string            `json:"address,omitempty"` // host:port it goes by in proxy mode, if declared
	Port    uint16            `json:"port,omitempty"`    // of its URL; 0: not to be had in proxy mode
	Path    string            `json:"path,omitempty"`    // escaped; of a subtree, the part before its *
	Subtree bool              `json:"subtree,omitempty"` // every path under Path is declared
	Labels  map[string]string `json:"labels,omitempty"`
	Listed  *bool             `json:"listed,omitempty"` // what its declaration says of it; see Discoverable
}

// OwnTarget is the name of the target every agent has: its own metrics.
const OwnTarget = "farscrape"

// Discoverable reports whether service discovery lists the target: as its
// declaration says, else unless it is a subtree, whose path alone is rarely an
// endpoint. One that is not can be scraped all the same.
func (t *Target) Discoverable() bool {
	if t.Listed != nil {
		return *t.Listed
	}
	return !t.Subtree
}

// ProxyAddress is the host:port by which proxy mode knows the target: the
// declared one, else the agent's name with the port of the target's URL. Empty
// if there is none.
func (t *Target) ProxyAddress(agent string) string {
	switch {
	case t.Address != "":
		return strings.ToLower(t.Address)
	case t.Port != 0:
		return net.JoinHostPort(agent, strconv.Itoa(int(t.Port)))
	}
	return ""
}

// FindTarget returns the target of that name, or nil.
func FindTarget(targets []Target, name string) *Target {
	for i := range targets {
		if targets[i].Name == name {
			return &targets[i]
		}
	}
	return nil
}
