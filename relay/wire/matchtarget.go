package wire

import (
	"strconv"
	"strings"
)

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

// covers reports whether the target's declaration includes an escaped path, and
// what of it follows the declared one.
func (t *Target) covers(path string) (rest string, ok bool) {
	if t.Subtree {
		return strings.CutPrefix(path, t.Path)
	}
	return "", path == t.Path
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

// Places are the places at which proxy mode finds an agent's targets, counted. They
// answer at once for all targets what [MatchTarget] looks up for one.
type Places map[place]int

type place struct {
	address, path string
	subtree       bool
}

// NewPlaces counts the targets of an agent.
func NewPlaces(agent string, targets []*Target) Places {
	p := make(Places, len(targets))
	for _, t := range targets {
		if address := t.ProxyAddress(agent); address != "" {
			p[place{address, t.Path, t.Subtree}]++
		}
	}
	return p
}

// Finds reports whether a request for the address that a target goes by and for
// the very path that it declares is for that target.
func (p Places) Finds(t *Target, address string) bool {
	return p[place{address, t.Path, t.Subtree}] == 1 && (!t.Subtree || p[place{address, t.Path, false}] == 0)
}
