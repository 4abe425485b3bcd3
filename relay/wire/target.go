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

// covers reports whether the target's declaration includes an escaped path, and
// what of it follows the declared one.
func (t *Target) covers(path string) (rest string, ok bool) {
	if t.Subtree {
		return strings.CutPrefix(path, t.Path)
	}
	return "", path == t.Path
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

// isAt reports whether proxy mode knows the target by an address, in lower case,
// which is that port of its agent's name; 0 if it is not.
func (t *Target) isAt(address string, port uint16) bool {
	if t.Address != "" {
		return len(t.Address) == len(address) && strings.EqualFold(t.Address, address)
	}
	return t.Port != 0 && t.Port == port
}

// portAt is the port of an address at an agent's name, as [Target.ProxyAddress] has
// it; 0 if it is another host's.
func portAt(agent, address string) uint16 {
	host, port, ok := strings.Cut(address, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if !ok || err != nil || host != agent || port[0] < '1' {
		return 0
	}
	return uint16(n)
}

// MatchTarget finds the one target of an agent that a proxy-mode request for
// address (host:port, in lower case) and the escaped path means, and what of
// the path follows a subtree's. An exact path goes before a subtree, a longer
// subtree before a shorter one. Two that fit alike are TargetAmbiguous.
func MatchTarget(agent string, targets []Target, address, path string) (target *Target, rest string, err *Error) {
	best := -1
	twice := false
	port := portAt(agent, address)
	for i := range targets {
		t := &targets[i]
		r, ok := t.covers(path)
		if !ok || !t.isAt(address, port) {
			continue
		}
		rank := len(t.Path)
		if !t.Subtree {
			rank = len(path) + 1
		}
		if rank > best {
			best, twice = rank, false
			target, rest = t, r
		} else if rank == best {
			twice = true
		}
	}
	switch {
	case target == nil:
		return nil, "", Errorf(TargetNotDeclared, "agent %s declares no target at %s%s", agent, address, path)
	case twice:
		return nil, "", Errorf(TargetAmbiguous, "two targets of agent %s are at %s%s: give each an address", agent, address, path)
	}
	return target, rest, nil
}
