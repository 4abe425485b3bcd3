package wire

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Claim says what a proxy-mode address is to a tenant.
type Claim uint8

// The claims, the weakest first.
const (
	Unclaimed       Claim = iota
	DeclaredAddress       // some agent's target goes by it
	PatternName           // its host is the name of an agent whose token is for a pattern
	BoundName             // its host is the name of an agent that a token is made out to
)

// simultaneous is how close together two claims may be for neither to be the
// earlier: agents that come back after an outage come in any order.
const simultaneous = time.Second

// An AddressBook says which agent of a tenant a proxy-mode address is for.
//
// A name claims its agent's addresses with every port, a declared address
// itself. The earliest claim stands for as long as its agent is listed, and the
// later ones are refused, so that nobody takes a name's scrapes, or an
// address's, by declaring it too. A claim that the agent's token is bound to
// goes before all that are not. Only claims made at the same time are
// ambiguous: to hold all for ambiguous would let the later one end the
// earlier's.
type AddressBook struct {
	agents  []Agent
	names   map[string]int      // place in agents
	holders map[string][]*Agent // of each declared address, in lower case; in the order of agents
	hosts   map[string]bool     // of these
}

// An addressClaim is one agent's claim to one address.
type addressClaim struct {
	agent int // place in agents
	since time.Time
	bound bool // by the agent's token
}

// NewAddressBook makes the book of a tenant's agents, linked and departed. It
// keeps them, and they must not change.
func NewAddressBook(agents []Agent) *AddressBook {
	declared := 0
	for i := range agents {
		declared += len(agents[i].Claims)
	}
	b := &AddressBook{agents: agents, names: make(map[string]int, len(agents)),
		holders: make(map[string][]*Agent, declared), hosts: make(map[string]bool)}
	claims := make(map[string][]addressClaim, declared) // by address
	for i := range agents {
		a := &agents[i]
		b.names[a.Agent] = i
		for _, t := range a.Targets() {
			if t.Address == "" {
				continue
			}
			address := strings.ToLower(t.Address)
			of := claims[address]
			if n := len(of); n > 0 && of[n-1].agent == i || !a.mayClaim(address) {
				continue // an agent may have several paths there
			}
			claims[address] = append(of, addressClaim{i, a.claimedSince(address), a.bound()})
		}
	}
	for address, of := range claims {
		host := HostOf(address)
		b.hosts[host] = true
		if i, ok := b.names[host]; ok && !slices.ContainsFunc(of, func(c addressClaim) bool { return c.agent == i }) {
			at, _ := slices.BinarySearchFunc(of, i, func(c addressClaim, agent int) int { return cmp.Compare(c.agent, agent) })
			of = slices.Insert(of, at, addressClaim{agent: i, since: agents[i].Since})
		}
		b.holders[address] = b.strongest(of)
	}
	return b
}

// claimedSince is since when the agent has claimed an address that it declares:
// one at its own name it had before it declared it.
func (a *Agent) claimedSince(address string) time.Time {
	since := a.Claims[address]
	if HostOf(address) == a.Agent && !a.Since.IsZero() && (since.IsZero() || a.Since.Before(since)) {
		return a.Since
	}
	return since
}

// strongest are the agents whose claim to an address stands, or whose claims are
// as strong.
func (b *AddressBook) strongest(claims []addressClaim) []*Agent {
	best := slices.MinFunc(claims, byStrength)
	var holders []*Agent
	for _, c := range claims {
		if c.bound == best.bound && c.since.IsZero() == best.since.IsZero() && c.since.Sub(best.since) < simultaneous {
			holders = append(holders, &b.agents[c.agent])
		}
	}
	return holders
}

// Holders are the agents that a request to address, host:port in lower case, may
// be for: none, one, or several whose claims are as strong. They are the caller's
// to read only.
func (b *AddressBook) Holders(address string) []*Agent {
	if holders, ok := b.holders[address]; ok {
		return holders
	}
	if i, ok := b.names[HostOf(address)]; ok {
		return []*Agent{&b.agents[i]}
	}
	return nil
}

// byStrength puts the stronger claim first. One whose time is not known was
// written by a replica of an earlier version: it stands behind the others.
func byStrength(a, b addressClaim) int {
	switch {
	case a.bound != b.bound && a.bound, a.since.IsZero() != b.since.IsZero() && b.since.IsZero():
		return -1
	case a.bound != b.bound, a.since.IsZero() != b.since.IsZero():
		return 1
	}
	return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.agent, b.agent))
}

// A Standing says what becomes of a proxy-mode request for the address of an
// agent's target.
type Standing uint8

// The standings.
const (
	AddressGranted Standing = iota // it comes to the agent
	AddressShared                  // others claimed the address at the same time: it is ambiguous
	AddressOwn                     // the address is the relay's
	AddressUnbound                 // the agent's token is bound to other addresses
	AddressTaken                   // another agent's claim stands
)

// Standing says how the address that an agent's target goes by stands, which is
// its ProxyAddress. The agent is in the book.
func (b *AddressBook) Standing(a *Agent, t *Target, address string, own Hosts) Standing {
	holders := b.Holders(address)
	_, holds := slices.BinarySearchFunc(holders, b.names[a.Agent], func(h *Agent, i int) int { return cmp.Compare(b.names[h.Agent], i) })
	switch {
	case own.Has(HostOf(address)):
		return AddressOwn
	case !holds && t.Address != "" && !a.mayClaim(address):
		return AddressUnbound
	case !holds:
		return AddressTaken
	case len(holders) > 1:
		return AddressShared
	}
	return AddressGranted
}

// Refused are the addresses of an agent's targets whose claims do not stand.
func (b *AddressBook) Refused(agent string, own Hosts) Notice {
	var n Notice
	i, listed := b.names[agent]
	if !listed {
		return n
	}
	a := &b.agents[i]
	targets := a.Targets()
	for i := range targets {
		t := &targets[i]
		if t.Address == "" && !b.hosts[a.Agent] {
			continue // as are most: nobody else declares an address there
		}
		address := t.ProxyAddress(a.Agent)
		if address == "" {
			continue
		}
		why := b.Standing(a, t, address, own).Why()
		if why == "" {
			continue
		}
		if len(n.Refused) == MaxRefused {
			n.More++
		} else {
			n.Refused = append(n.Refused, RefusedAddress{t.Name, address, why})
		}
	}
	return n
}

// Claimed says what an address is to the tenant.
func (b *AddressBook) Claimed(address string) Claim {
	if i, ok := b.names[HostOf(address)]; ok {
		return b.agents[i].NameClaim()
	}
	if len(b.holders[address]) > 0 {
		return DeclaredAddress
	}
	return Unclaimed
}
