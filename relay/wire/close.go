package wire

import (
	"strings"
	"unicode/utf8"
)

// A Cause says why a link closed. Its name is the metric label and the log
// field on both sides, and the WebSocket close reason, which may go on with a
// detail; its code is the WebSocket status.
type Cause uint8

// The causes. Order is free: only the codes and names travel.
const (
	CauseLost         Cause = iota // the connection broke, without a word
	CauseTimeout                   // silent for PeerTimeout
	CauseDrained                   // moved elsewhere; nothing was left to do
	CauseDrainTimeout              // cut while scrapes were still in flight
	CauseSuperseded                // a younger instance holds the name
	CauseNameTaken                 // a pattern's token met a live agent
	CauseProtocol                  // a message that breaks the protocol
	CauseSlow                      // the peer does not read what is sent to it
	CauseAgentStopped              // the agent said goodbye
	CauseRevoked                   // the token was revoked, or has expired
	CauseRefused                   // the target list or the HELLO was not taken
)

var causes = [...]struct {
	name string
	code int // 1000 to 1011: RFC 6455; 4000 to 4999: ours
}{
	CauseLost:         {"lost", 1006},
	CauseTimeout:      {"timeout", 4001},
	CauseDrained:      {"drained", 4002},
	CauseDrainTimeout: {"drain_timeout", 4003},
	CauseSuperseded:   {"superseded", 4004},
	CauseNameTaken:    {"name_taken", 4005},
	CauseProtocol:     {"protocol", 1002},
	CauseSlow:         {"slow", 4006},
	CauseAgentStopped: {"agent_stopped", 1000},
	CauseRevoked:      {"revoked", 4007},
	CauseRefused:      {"refused", 4008},
}

// Causes lists every cause.
func Causes() []Cause {
	all := make([]Cause, len(causes))
	for i := range causes {
		all[i] = Cause(i)
	}
	return all
}

// String is the cause's name.
func (c Cause) String() string { return causes[c].name }

// Code is the WebSocket status that a link is closed with.
func (c Cause) Code() int { return causes[c].code }

// maxCloseReason is what a WebSocket's close frame has room for, in bytes
// (RFC 6455, 5.5).
const maxCloseReason = 123

// CloseReason is what a link is closed with: the cause's name, and behind it what
// a person should know, as far as it fits.
func (c Cause) CloseReason(detail string) string {
	if detail == "" {
		return c.String()
	}
	reason := strings.ToValidUTF8(c.String()+": "+detail, "?")
	if len(reason) > maxCloseReason {
		reason = reason[:maxCloseReason]
		for !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
	}
	return reason
}

// CloseDetail is what CloseReason has put behind the cause's name.
func CloseDetail(reason string) string {
	_, detail, _ := strings.Cut(reason, ": ")
	return detail
}

// CauseOf is the cause that a peer's WebSocket status stands for; CauseLost for
// any that is not ours.
func CauseOf(code int) Cause {
	for c := range causes {
		if causes[c].code == code {
			return Cause(c)
		}
	}
	return CauseLost
}

// Header fields of the upgrade request that opens a link.
const (
	// HeaderAgent is the agent's name, so that a token that does not allow it
	// is refused before the upgrade.
	HeaderAgent = "Farscrape-Agent"
	// HeaderHeld lists the replicas that the agent holds already, separated by
	// commas; one of these refuses with 409 and Retry-After, and the next dial
	// may meet another.
	HeaderHeld = "Farscrape-Held"
	// HeaderError is, on any refusal and any failed scrape, its Reason.
	HeaderError = "Farscrape-Error"
	// HeaderToken carries a scraper's token where Authorization is taken.
	HeaderToken = "Farscrape-Token"
	// HeaderPrefix starts the names of all our header fields: a target's own
	// are dropped.
	HeaderPrefix = "Farscrape-"
)

// ConnectPath is where agents open their links.
const ConnectPath = "/agent/connect"
