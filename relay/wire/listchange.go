package wire

import (
	"fmt"
	"slices"
)

// A ListChange is what one target list has otherwise than another: CHANGE's payload.
type ListChange struct {
	Removed []string `json:"removed,omitempty"`
	// Targets are new, or stand in the place of those of their names.
	Targets []Target `json:"targets,omitempty"`
}

// FeatureChanges is listed in WELCOME by a replica that takes CHANGE.
const FeatureChanges = "list-changes"

// ChangesFrom is what l has otherwise than the list before.
func (l *TargetList) ChangesFrom(before *TargetList) (c ListChange) {
	for i, j := range pairs(before, l) {
		switch {
		case j < 0:
			c.Removed = append(c.Removed, before.targets[i].Name)
		case i < 0 || before.lines[i].sum != l.lines[j].sum:
			c.Targets = append(c.Targets, l.targets[j])
		}
	}
	return c
}

// Frame is the change as CHANGE; ok if it fits one.
func (c ListChange) Frame() (f Frame, ok bool) {
	f = Frame{Type: TypeChange, Payload: MarshalControl(c)}
	return f, len(f.Payload) <= MaxPayload
}

// ParseChange decodes CHANGE's payload. The targets are not checked yet.
func ParseChange(payload []byte) (*ListChange, error) {
	return parseControl[ListChange]("CHANGE", payload)
}

// Changed returns the list with a change. It shares what has not changed.
func (l *TargetList) Changed(c *ListChange, limits TargetLimits) (*TargetList, error) {
	limits = limits.orMost()
	same := make(interned)
	for i := range c.Targets {
		if n := len(c.Targets[i].Labels); n > limits.Labels {
			return nil, limits.over("labels", n, limits.Labels, "LABELS")
		}
		same.target(&c.Targets[i])
	}
	if err := CheckTargets(c.Targets); err != nil {
		return nil, err
	}
	added := NewTargetList(c.Targets)
	removed := slices.Compact(slices.Sorted(slices.Values(c.Removed)))
	n := max(l.Len()+added.Len()-len(removed), 0)
	changed := &TargetList{targets: make([]Target, 0, n), lines: make([]targetLine, 0, n)}
	for i, j := range pairs(l, added) {
		if j >= 0 {
			changed.add(added.targets[j], added.lines[j])
			continue
		}
		if len(removed) > 0 && removed[0] == l.targets[i].Name {
			removed = removed[1:]
			continue
		}
		changed.add(l.targets[i], l.lines[i])
	}
	if len(removed) > 0 {
		return nil, fmt.Errorf("CHANGE: %w: it removes a target that is not there, or adds it", ErrMalformed)
	}
	changed = changed.named()
	switch {
	case changed.Len() > limits.Targets:
		return nil, limits.over("targets", changed.Len(), limits.Targets, "TARGETS")
	case changed.Bytes() > limits.Bytes:
		return nil, limits.over("bytes of targets", changed.Bytes(), limits.Bytes, "BYTES")
	}
	return changed, nil
}

// A ChangeCount counts by what one target list differs from another.
type ChangeCount struct{ Added, Removed, Changed int }

// CountChanges counts what has become of targets, by their names.
func CountChanges(before, after *TargetList) (c ChangeCount) {
	for i, j := range pairs(before, after) {
		switch {
		case i < 0:
			c.Added++
		case j < 0:
			c.Removed++
		case before.lines[i].sum != after.lines[j].sum:
			c.Changed++
		}
	}
	return c
}

func (c ChangeCount) String() string {
	return fmt.Sprintf("%d added, %d removed, %d changed", c.Added, c.Removed, c.Changed)
}
