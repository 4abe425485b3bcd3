package store

import (
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// The rules of conflict, as scripts/hold.lua states them and has them for Redis.

// sameInstance reports whether a and b are of one instance. One that was not
// shared and now is may be older than any: it is not the same.
func sameInstance(a, b *wire.Entry) bool { return a.Instance == b.Instance && a.Shared == b.Shared }

// beside reports whether a and b are no conflict.
func beside(a, b *wire.Entry) bool {
	return sameInstance(a, b) || a.Shared && b.Shared && a.Yielding == b.Yielding
}

// displaces reports whether a newcomer takes the place of an entry that it
// cannot stand beside.
func displaces(newcomer, l *wire.Entry) bool {
	if newcomer.Yielding != l.Yielding {
		return l.Yielding
	}
	return !newcomer.Yielding && younger(newcomer, l)
}

// conflictError is why loser cannot stand beside winner.
func conflictError(loser, winner *wire.Entry) error {
	if younger(winner, loser) && !(loser.Shared && winner.Shared) {
		return wire.ErrSuperseded
	}
	return wire.ErrNameTaken
}

// younger reports whether a is of a younger instance than b.
func younger(a, b *wire.Entry) bool {
	return a.Epoch > b.Epoch || a.Epoch == b.Epoch && a.Instance > b.Instance
}

// byEpoch orders entries by which is asked first: the lowest epoch, but one that
// yields after all that do not. A replica of an older version may have let them
// stand together.
func byEpoch(a, b wire.Entry) int {
	switch {
	case a.Yielding != b.Yielding && b.Yielding, a.Yielding == b.Yielding && younger(&b, &a):
		return -1
	case a.Yielding != b.Yielding, younger(&a, &b):
		return 1
	}
	return strings.Compare(string(a.Link), string(b.Link))
}
