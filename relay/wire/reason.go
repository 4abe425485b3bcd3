package wire

import "fmt"

// A Reason says why a scrape ended as it did. Its name is the same in the
// Farscrape-Error header, in metrics and in logs; its status is what Prometheus
// gets; its number is what END and NACK carry.
type Reason uint8

// The reasons. Numbers are for ever; 0 is success.
const (
	OK                Reason = 0
	BadRequest        Reason = 1  // no request we can make sense of
	TargetAmbiguous   Reason = 2  // a proxy-mode request that fits two targets
	Method            Reason = 3  // anything but GET
	Unauthorized      Reason = 4  // no valid credential
	Forbidden         Reason = 5  // a valid token of the wrong role
	TargetNotDeclared Reason = 6  // the agent has no such target
	AgentUnknown      Reason = 7  // nobody of that name here, or not for you
	TooManyScrapes    Reason = 8  // the in-flight limit, and no place within half the deadline
	TargetRefused     Reason = 9  // no connection to the target
	TargetDNS         Reason = 10 // the target's name does not resolve
	TargetTLS         Reason = 11 // its certificate or handshake
	TargetRedirect    Reason = 12 // it redirects elsewhere
	TargetBadAnswer   Reason = 13 // not HTTP, or broken off
	BodyTooLarge      Reason = 14 // past FARSCRAPE_MAX_BODY
	AgentOffline      Reason = 15 // known, but no link answers
	BusUnavailable    Reason = 16 // Redis is away, or was just emptied
	Overloaded        Reason = 17 // a limit of ours, not of the agent's
	Draining          Reason = 18 // this replica is about to exit
	Deadline          Reason = 19 // the scrape's time is up
	TargetStatus      Reason = 20 // the target's own 4xx or 5xx, passed through
	Internal          Reason = 21 // a bug of ours, and nothing else
	Canceled          Reason = 22 // Prometheus went away first; nobody sees it
	AgentProtocol     Reason = 23 // the agent broke the protocol, or gave a reason that is not its to give
)

// reasons is the one table of names and statuses, and of which an agent may give
// in its END and NACK: those that its target or its own limits are to blame for.
var reasons = [...]struct {
	name   string
	status int
	agents bool
}{
	OK:                {"ok", 200, false},
	BadRequest:        {"bad_request", 400, true},
	TargetAmbiguous:   {"target_ambiguous", 400, false},
	Method:            {"method", 405, false},
	Unauthorized:      {"unauthorized", 401, false}, // the edge makes it 407 in proxy mode
	Forbidden:         {"forbidden", 403, false},
	TargetNotDeclared: {"target_not_declared", 403, true},
	AgentUnknown:      {"agent_unknown", 404, false},
	TooManyScrapes:    {"too_many_scrapes", 429, true},
	TargetRefused:     {"target_refused", 502, true},
	TargetDNS:         {"target_dns", 502, true},
	TargetTLS:         {"target_tls", 502, true},
	TargetRedirect:    {"target_redirect", 502, true},
	TargetBadAnswer:   {"target_bad_answer", 502, true},
	BodyTooLarge:      {"body_too_large", 502, true},
	AgentOffline:      {"agent_offline", 503, false},
	BusUnavailable:    {"bus_unavailable", 503, false},
	Overloaded:        {"overloaded", 503, false},
	Draining:          {"draining", 503, false},
	Deadline:          {"deadline", 504, true},
	TargetStatus:      {"target", 0, false}, // the target's own status
	Internal:          {"internal", 500, false},
	Canceled:          {"canceled", 499, true}, // nginx's number for it, for logs
	AgentProtocol:     {"agent_protocol", 502, false},
}

// LastReason is the highest that this build knows.
const LastReason = Reason(len(reasons) - 1)

// Reasons lists every reason, for metrics that want all their labels from the
// start.
func Reasons() []Reason {
	all := make([]Reason, len(reasons))
	for i := range reasons {
		all[i] = Reason(i)
	}
	return all
}

// String is the reason's name.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r].name
	}
	return reasons[Internal].name
}

// Status is the HTTP status that answers a scrape that ended so; 0 for
// TargetStatus, whose status is the target's.
func (r Reason) Status() int {
	if int(r) < len(reasons) {
		return reasons[r].status
	}
	return reasons[Internal].status
}

// FromAgent reports whether an agent may give the reason. The others are the
// relay's: an agent must not send a scraper to look for a better token, or say of
// itself that it is not known.
func (r Reason) FromAgent() bool { return int(r) < len(reasons) && reasons[r].agents }

// For is the reason as an edge gets it that knows none above known. Those that came
// after Canceled are what such an edge would make of them itself.
func (r Reason) For(known Reason) Reason {
	if r > max(known, Canceled) {
		return Internal
	}
	return r
}

// An Error is a scrape's failure with its reason.
type Error struct {
	Reason Reason
	Detail string // for a person; without secrets, may be empty
}

// Errorf makes an Error; its detail is formatted as by fmt.Sprintf.
func Errorf(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// UnknownAgent is the failure of a scrape whose agent is not there, or not for the
// one who asks.
func UnknownAgent(agent string) *Error {
	return Errorf(AgentUnknown, "no agent %q is known: GET /api/v1/agents lists those that are; does it run, under that FARSCRAPE_NAME?", agent)
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Reason.String()
	}
	return e.Reason.String() + ": " + e.Detail
}
