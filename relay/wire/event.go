package wire

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Event is something that has happened to an agent, as a tenant's journal has
// it. What it says are the relay's own words and names that were checked.
type Event struct {
	ID   EventID   `json:"id,omitzero"` // zero before the journal has it
	Time time.Time `json:"time,omitzero"`
	Kind EventKind `json:"kind"`
	AgentKey
	Instance InstanceID `json:"instance,omitempty"`
	Link     LinkID     `json:"link,omitempty"`
	Replica  ReplicaID  `json:"replica,omitempty"` // that saw it
	Cause    string     `json:"cause,omitempty"`   // a name: of a Cause, of a Reason, or as its kind says
	Detail   string     `json:"detail,omitempty"`  // for a person
}

// An EventKind says what has happened. A journal may hold kinds of a later version.
type EventKind string

// The kinds of event.
const (
	EventLinked   EventKind = "linked"   // a link was welcomed
	EventClosed   EventKind = "closed"   // a link that was welcomed is no more; cause: why
	EventConflict EventKind = "conflict" // the link's name is another process's; cause: superseded or name_taken
	EventRefused  EventKind = "refused"  // before or after the upgrade; cause: a Reason's name, or refused
	EventRotated  EventKind = "rotated"  // the agent is asked to move the link; cause: max_age, certificate_ends or balance
	EventRevoked  EventKind = "revoked"  // the link ends for its token or certificate; cause: token_expired, key_removed, token_revoked, certificate_expired, certificate_revoked or ca_removed
	EventTargets  EventKind = "targets"  // a link declares other targets; detail: how many
	EventJoined   EventKind = "joined"   // a host has got the agent's token by a join token
	EventLeftOut  EventKind = "left_out" // more has happened than is told one by one; detail: how much
)

// EventKinds lists every kind of this version.
func EventKinds() []EventKind {
	return []EventKind{EventLinked, EventClosed, EventConflict, EventRefused, EventRotated, EventRevoked, EventTargets, EventJoined, EventLeftOut}
}

// MaxEventDetail bounds an event's detail, in bytes, and maxEventWord its kind and
// its cause.
const (
	MaxEventDetail = 256
	maxEventWord   = 32
)

// Clip cuts the detail to what it may have.
func (e *Event) Clip() {
	if len(e.Detail) > MaxEventDetail {
		const more = "…"
		e.Detail = strings.ToValidUTF8(e.Detail[:MaxEventDetail-len(more)], "") + more
	}
}

// Check reports why e is no event: what is read from where others may write is
// shown to people.
func (e *Event) Check() error {
	if !eventWord(string(e.Kind)) || e.Cause != "" && !eventWord(e.Cause) {
		return fmt.Errorf("event: kind %.40q, cause %.40q: %w", e.Kind, e.Cause, ErrMalformed)
	}
	if err := CheckName("tenant", e.Tenant); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if err := CheckAgentName(e.Agent); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	for _, id := range []string{string(e.Instance), string(e.Link), string(e.Replica)} {
		if id != "" && !ValidID(id) {
			return fmt.Errorf("event: ID %.40q: %w", id, ErrMalformed)
		}
	}
	if len(e.Detail) > MaxEventDetail || !utf8.ValidString(e.Detail) || strings.ContainsFunc(e.Detail, unicode.IsControl) {
		return errors.New("event: its detail is no text")
	}
	return nil
}

// eventWord reports whether s is a word as kinds and causes are.
func eventWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxEventWord
}

// An EventPage is a part of a tenant's journal.
type EventPage struct {
	Events []Event // in the order of their IDs
	// End is how far was read, and where to go on from: the ID of what was read last,
	// be it no event, or where the reader was.
	End EventID
	// More says that there may be more beyond End.
	More bool
	// Gap says that the event to go on from is not kept any more, so that some between
	// it and these, which are the oldest there are, may be missing.
	Gap bool
}
