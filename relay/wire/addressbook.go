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
	agents []Agent
	names  map[string]int            // place in agents
	claims map[string][]addressClaim // by address in lower case
	hosts  map[string]bool           // of the claims
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
	b := &AddressBook{agents: agents, names: make(map[string]int, len(agents)),
		claims: make(map[string][]addressClaim), hosts: make(map[string]bool)}
	for i := range agents {
		a := &agents[i]
		b.names[a.Agent] = i
		for _, t := range a.Targets() {
			if t.Address == "" {
				continue
			}
			address := strings.ToLower(t.Address)
			of := b.claims[address]
			if n := len(of); n > 0 && of[n-1].agent == i || !a.mayClaim(address) {
				continue // an agent may have several paths there
			}
			b.claims[address] = append(of, addressClaim{i, a.Claims[address], a.bound()})
			b.hosts[HostOf(address)] = true
		}
	}
	return b
}

// Holders are the agents that a request to address, host:port in lower case, may
// be for: none, one, or several whose claims are as strong.
func (b *AddressBook) Holders(address string) []*Agent {
	claims := b.claims[address]
	if i, ok := b.names[HostOf(address)]; ok && !slices.ContainsFunc(claims, func(c addressClaim) bool { return c.agent == i }) {
		claims = append(slices.Clip(claims), addressClaim{agent: i, since: b.agents[i].Since})
	}
	if len(claims) == 0 {
		return nil
	}
	best := slices.MinFunc(claims, byStrength)
	holders := make([]*Agent, 0, 1)
	for _, c := range claims {
		if c.bound == best.bound && c.since.IsZero() == best.since.IsZero() && c.since.Sub(best.since) < simultaneous {
			holders = append(holders, &b.agents[c.agent])
		}
	}
	return holders
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

// Refused reports whether the agent's claim to address does not stand: another's
// does, or its token is bound to others.
func (b *AddressBook) Refused(a *Agent, address string) bool {
	return !slices.ContainsFunc(b.Holders(address), func(h *Agent) bool { return h.Agent == a.Agent })
}

// Refusals are the addresses of an agent's targets whose claims do not stand.
func (b *AddressBook) Refusals(agent string, own Hosts) Notice {
	var n Notice
	i, listed := b.names[agent]
	if !listed {
		return n
	}
	a := &b.agents[i]
	for _, t := range a.Targets() {
		if t.Address == "" && !b.hosts[a.Agent] {
			continue // as are most: nobody else declares an address there
		}
		address, why := t.ProxyAddress(a.Agent), ""
		switch {
		case address == "":
		case own.Has(HostOf(address)):
			why = WhyOwn
		case t.Address != "" && !a.mayClaim(address):
			why = WhyUnbound
		case b.Refused(a, address):
			why = WhyClaimed
		}
		if why == "" {
			continue
		}
		if len(n.Refused) == MaxRefusals {
			n.More++
		} else {
			n.Refused = append(n.Refused, Refusal{t.Name, address, why})
		}
	}
	return n
}

// Claimed says what an address is to the tenant.
func (b *AddressBook) Claimed(address string) Claim {
	if i, ok := b.names[HostOf(address)]; ok {
		return b.agents[i].NameClaim()
	}
	if len(b.claims[address]) > 0 {
		return DeclaredAddress
	}
	return Unclaimed
}
