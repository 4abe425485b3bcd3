package wire

import (
	"maps"
	"slices"
	"sync"
)

// A Listing is all of a tenant's agents at one time. It does not change.
type Listing struct {
	Agents []Agent // linked and departed, in the order of names
	// Version tells a tenant's listings apart: two have the same only if
	// discovery shows them alike. Whoever keeps the listings gives it.
	Version uint64

	book    func() *AddressBook
	targets int
}

// NewListing makes a listing of agents in the order of names. It keeps them, and
// they must not change.
func NewListing(agents []Agent) *Listing {
	l := &Listing{Agents: agents}
	l.book = sync.OnceValue(func() *AddressBook { return NewAddressBook(agents) })
	for i := range agents {
		l.targets += len(agents[i].Targets())
	}
	return l
}

// Book says which agent each proxy-mode address is for. It is made when it is
// first asked for.
func (l *Listing) Book() *AddressBook { return l.book() }

// Targets is how many targets the agents have.
func (l *Listing) Targets() int { return l.targets }

// ShownAs reports whether discovery shows l as it shows m.
func (l *Listing) ShownAs(m *Listing) bool {
	return slices.EqualFunc(l.Agents, m.Agents, showAlike)
}

// showAlike reports whether discovery shows two states of an agent alike.
func showAlike(a, b Agent) bool {
	return a.AgentKey == b.AgentKey && a.Connected() == b.Connected() && a.Since.Equal(b.Since) &&
		a.newest().Yielding == b.newest().Yielding && a.newest().Addresses == b.newest().Addresses &&
		maps.Equal(a.Claims, b.Claims) && sameTargets(a.Targets(), b.Targets())
}

// sameTargets reports whether discovery shows two lists alike. Mostly they are one:
// a store keeps what it has decoded.
func sameTargets(a, b []Target) bool {
	if len(a) > 0 && len(a) == len(b) && &a[0] == &b[0] {
		return true
	}
	return slices.EqualFunc(a, b, sameTarget)
}

func sameTarget(a, b Target) bool {
	return a.Name == b.Name && a.Scheme == b.Scheme && a.Address == b.Address && a.Port == b.Port && a.Path == b.Path &&
		a.Subtree == b.Subtree && a.Discoverable() == b.Discoverable() && maps.Equal(a.Labels, b.Labels)
}
