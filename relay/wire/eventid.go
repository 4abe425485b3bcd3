package wire

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// An EventID is an event's place in its tenant's journal, by which a reader goes on:
// "MILLIS-SEQ", as Redis's streams have it. The zero value is before all of them.
type EventID struct {
	Millis uint64 // since 1970, when the journal got it
	Seq    uint64 // within that millisecond
}

// IsZero reports whether it is no event's.
func (id EventID) IsZero() bool { return id == EventID{} }

// Compare orders IDs as their events came.
func (id EventID) Compare(other EventID) int {
	return cmp.Or(cmp.Compare(id.Millis, other.Millis), cmp.Compare(id.Seq, other.Seq))
}

// Next is an ID for an event that comes after this one, at that time if it can be.
func (id EventID) Next(millis uint64) EventID {
	if millis > id.Millis {
		return EventID{Millis: millis}
	}
	return EventID{id.Millis, id.Seq + 1}
}

func (id EventID) String() string {
	return strconv.FormatUint(id.Millis, 10) + "-" + strconv.FormatUint(id.Seq, 10)
}

// ParseEventID reads what String writes.
func ParseEventID(s string) (EventID, error) {
	millis, seq, ok := strings.Cut(s, "-")
	m, badMillis := strconv.ParseUint(millis, 10, 64)
	n, badSeq := strconv.ParseUint(seq, 10, 64)
	if id := (EventID{m, n}); ok && badMillis == nil && badSeq == nil && id.String() == s {
		return id, nil
	}
	return EventID{}, fmt.Errorf("event ID %.50q: %w", s, ErrMalformed)
}

// MarshalText implements encoding.TextMarshaler.
func (id EventID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *EventID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseEventID(string(text))
	return err
}
