package wire

import "fmt"

// A TargetChange counts by what one target list differs from another.
type TargetChange struct{ Added, Removed, Changed int }

// CompareTargets counts what has become of targets, by their names.
func CompareTargets(before, after []Target) (c TargetChange) {
	was := make(map[string]*Target, len(before))
	for i := range before {
		was[before[i].Name] = &before[i]
	}
	for i := range after {
		old := was[after[i].Name]
		switch {
		case old == nil:
			c.Added++
			continue
		case !sameTarget(*old, after[i]):
			c.Changed++
		}
		delete(was, after[i].Name)
	}
	c.Removed = len(was)
	return c
}

func (c TargetChange) String() string {
	return fmt.Sprintf("%d added, %d removed, %d changed", c.Added, c.Removed, c.Changed)
}
