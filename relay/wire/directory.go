package wire

import (
	"errors"
	"slices"
	"time"
)

// An AgentKey names an agent: names are unique in their tenant.
type AgentKey struct {
	Tenant string `json:"tenant"`
	Agent  string `json:"agent"`
}

func (k AgentKey) String() string { return k.Tenant + "/" + k.Agent }

// An Entry is one link in the directory: a replica holds this agent by it. It stands
// as long as the lease of its replica does.
type Entry struct {
	AgentKey
	Instance    InstanceID `json:"instance"`
	Epoch       uint64     `json:"epoch"` // before it is registered: what the agent claims, or 0
	Link        LinkID     `json:"link"`
	Replica     ReplicaID  `json:"replica"`
	Shared      bool       `json:"shared,omitempty"`    // other instances may stand beside this one
	Ephemeral   bool       `json:"ephemeral,omitempty"` // delist soon after it is gone
	Features    []string   `json:"features,omitempty"`  // as the agent's HELLO lists them
	Yielding    bool       `json:"yielding,omitempty"`  // displaces nobody and gives way: its token is for a pattern
	Version     string     `json:"version,omitempty"`
	RemoteAddr  string     `json:"remote_addr,omitempty"`
	Connected   time.Time  `json:"connected"`
	TokenExpiry time.Time  `json:"token_expiry,omitzero"` // zero: never
	Addresses   string     `json:"addresses,omitempty"`   // the pattern of proxy-mode addresses that its token is bound to; empty: none
	// List is what the agent declares by this link. It stands for itself, and is not
	// encoded with the entry.
	List *TargetList `json:"-"`
}

// An Agent is what the directory knows of one agent, linked or departed.
type Agent struct {
	AgentKey
	// Links are the live entries, lowest epoch first, those that yield last.
	// Without any the agent has departed. If the entries are not shared, all are
	// of one instance: the one with the highest epoch, or whose token is for the
	// name.
	Links []Entry
	// Last is the newest entry there was; it describes an agent that departed.
	Last Entry
	// LastSeen is when its last link was alive. While it has one that is later, see
	// Seen.
	LastSeen time.Time
	// LastClose is the cause its last link closed for, empty while it has one.
	LastClose string
	// Since is since when the directory has listed the agent, and Claims since
	// when it has declared each address, in lower case, by the directory's clock.
	// Not known of what a replica of an earlier version wrote.
	Since  time.Time
	Claims map[string]time.Time
}

// newest is the entry that says most of the agent.
func (a *Agent) newest() *Entry {
	if n := len(a.Links); n > 0 {
		return &a.Links[n-1]
	}
	return &a.Last
}

// NameClaim is what the agent's name is to its tenant.
func (a *Agent) NameClaim() Claim {
	if a.newest().Yielding {
		return PatternName
	}
	return BoundName
}

// bound reports whether the agent's token is bound to addresses: then its claims
// to them go before those of others.
func (a *Agent) bound() bool { return a.newest().Addresses != "" }

// mayClaim reports whether the agent's token lets it declare an address.
func (a *Agent) mayClaim(address string) bool {
	return !a.bound() || MatchGlob(a.newest().Addresses, address)
}

// Connected reports whether any link of the agent is live.
func (a *Agent) Connected() bool { return len(a.Links) > 0 }

// seenWithin is how exact Seen is: what shows it is the same for so long.
const seenWithin = 5 * time.Second

// Seen is when the agent was last alive, as of now.
func (a *Agent) Seen(now time.Time) time.Time {
	if seen := now.Truncate(seenWithin); a.Connected() && seen.After(a.LastSeen) {
		return seen
	}
	return a.LastSeen
}

// Targets are the agent's targets: those of its live instances, where of two
// that declare the same name the lower epoch counts; else the last known ones.
func (a *Agent) Targets() []Target {
	if len(a.Links) == 0 {
		return a.Last.List.All()
	}
	all := a.Links[0].List.All()
	var seen map[string]bool // made once a second instance stands beside the first
	for i := 1; i < len(a.Links); i++ {
		if a.Links[i].Instance == a.Links[i-1].Instance {
			continue
		}
		if seen == nil {
			all = slices.Clip(all)
			seen = make(map[string]bool, len(all))
			for j := range all {
				seen[all[j].Name] = true
			}
		}
		for _, t := range a.Links[i].List.All() {
			if !seen[t.Name] {
				seen[t.Name] = true
				all = append(all, t)
			}
		}
	}
	return all
}

// What a directory answers to an entry that it does not take, and to who would
// forget an agent.
var (
	// ErrSuperseded: a younger instance of the same name holds the agent.
	ErrSuperseded = errors.New("superseded by a younger instance of the same name")
	// ErrNameTaken: the entry is Yielding and another instance is live, or one
	// that does not yield has come.
	ErrNameTaken = errors.New("the name is in use, and a token for a pattern displaces nobody")
	// ErrConnected: an agent with a live link cannot be forgotten.
	ErrConnected = errors.New("the agent is connected")
)

// StoreEvents are a store's calls back to its replica. They come from the
// store's own goroutines, Frames and Gap of one sender in order, and must not
// block.
type StoreEvents struct {
	// Frames delivers frames of another replica. The slice is the callee's until
	// it returns.
	Frames func(from ReplicaID, frames []byte)
	// Gap says that frames of that replica were lost, before any that follow.
	Gap func(from ReplicaID)
	// Unheard says that a replica is gone: nobody subscribes to its inbox, or it
	// is not among the living any more. It may be said again.
	Unheard func(to ReplicaID)
	// Bus says whether the bus works, at first and on each change.
	Bus func(up bool)
	// Registered says that an entry taken while the directory was away is in it.
	Registered func(link LinkID, epoch uint64)
	// Lost says that the directory will not hold an entry any longer:
	// ErrSuperseded, ErrNameTaken, or a *LimitError.
	Lost func(link LinkID, why error)
	// Revoked says what is taken back, at first, even if it is nothing, and on each
	// change. It closes the links of which that is true and counts them by what took
	// them.
	Revoked func(set *Revocations) (closed map[RevokedSubject]int)
}
