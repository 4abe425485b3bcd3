package wire

import (
	"encoding/json"
	"fmt"
)

// A patch makes the encoding of one target list of another's: JSON, an array whose
// elements are one after the other either [from, to], lines of the other by their
// offsets, or a string, lines as they are. Who knows neither list can apply it.

// maxPieces bounds a patch: of more pieces it is dearer to put together than to send
// the list.
const maxPieces = 1024

// Patch is how to make l of the list before. It is empty, and not ok, where that is no
// shorter than the list, or has more than maxPieces.
func (l *TargetList) Patch(before *TargetList) (patch []byte, ok bool) {
	var pieces []any
	text := newLineEncoder()
	from, to, at := 0, 0, 0 // lines of before that are taken, and where the next begins
	flush := func() {
		if to > from {
			pieces = append(pieces, [2]int{from, to})
		}
		if text.Len() > 0 {
			pieces = append(pieces, text.String())
			text.Reset()
		}
		from, to = at, at
	}
	size := 0
	for i, j := range pairs(before, l) {
		next := at
		if i >= 0 {
			next += int(before.lines[i].bytes)
		}
		switch {
		case i >= 0 && j >= 0 && before.lines[i].sum == l.lines[j].sum:
			if at != to || text.Len() > 0 {
				flush()
			}
			to = next
		case j >= 0:
			if size += int(l.lines[j].bytes); size > l.bytes/2 {
				return nil, false
			}
			text.add(&l.targets[j])
		}
		at = next
	}
	flush()
	if len(pieces) > maxPieces {
		return nil, false
	}
	patch, err := json.Marshal(pieces)
	if err != nil {
		panic(fmt.Sprintf("wire: patch: %v", err)) // text and numbers always marshal
	}
	return patch, len(patch) < l.Bytes()
}

// Patched applies a patch to the list. It shares what has not changed.
func (l *TargetList) Patched(patch string) (*TargetList, error) {
	var pieces []json.RawMessage
	if err := json.Unmarshal([]byte(patch), &pieces); err != nil {
		return nil, fmt.Errorf("patch: %w: %v", ErrMalformed, err)
	}
	patched := &TargetList{targets: make([]Target, 0, l.Len()+len(pieces)), lines: make([]targetLine, 0, l.Len()+len(pieces))}
	at, i := 0, 0 // the next line of l
	for _, piece := range pieces {
		var text string
		if json.Unmarshal(piece, &text) == nil {
			targets, lines, err := readLines(text)
			if err != nil {
				return nil, fmt.Errorf("patch: %w", err)
			}
			patched.targets, patched.lines = append(patched.targets, targets...), append(patched.lines, lines...)
			continue
		}
		var taken [2]int
		if err := json.Unmarshal(piece, &taken); err != nil {
			return nil, fmt.Errorf("patch: %w: %v", ErrMalformed, err)
		}
		for ; at < taken[0] && i < l.Len(); i++ {
			at += int(l.lines[i].bytes)
		}
		if at != taken[0] {
			return nil, fmt.Errorf("patch: %w: no line begins at %d", ErrMalformed, taken[0])
		}
		for ; at < taken[1] && i < l.Len(); i++ {
			patched.add(l.targets[i], l.lines[i])
			at += int(l.lines[i].bytes)
		}
		if at != taken[1] {
			return nil, fmt.Errorf("patch: %w: no line ends at %d", ErrMalformed, taken[1])
		}
	}
	return patched.checked()
}
