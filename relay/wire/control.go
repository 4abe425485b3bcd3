package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
)

// The control messages of a link are JSON: they are rare, and a member that a
// receiver does not know it ignores, which is their room to grow.

// Hello is HELLO's payload. The agent's tenant comes from its token; its name
// is in the upgrade's Farscrape-Agent header, and only confirmed here.
type Hello struct {
	Agent     string     `json:"agent"`
	Instance  InstanceID `json:"instance"`
	Epoch     uint64     `json:"epoch,omitempty"` // if a directory gave it one
	Version   string     `json:"version"`
	Shared    bool       `json:"shared,omitempty"`
	Ephemeral bool       `json:"ephemeral,omitempty"`
	Held      []LinkID   `json:"held,omitempty"` // the links it has now
	// CutAfterMillis is the age at which something in between cuts its links,
	// if it has found that out: the replica moves this one before.
	CutAfterMillis int64    `json:"cut_after_ms,omitempty"`
	Features       []string `json:"features,omitempty"` // what it can do that an older one cannot
}

// Welcome is WELCOME's payload. A replica sends it once the agent's targets are
// known and the directory has answered, and again if a link that was local only
// is registered later.
type Welcome struct {
	Replica           ReplicaID `json:"replica"`
	Link              LinkID    `json:"link"`
	Epoch             uint64    `json:"epoch,omitempty"` // 0 while local only
	Registered        bool      `json:"registered"`      // false: local only, the directory is away
	HeartbeatMillis   int64     `json:"heartbeat_ms"`
	PeerTimeoutMillis int64     `json:"peer_timeout_ms"`
	MaxInflightTarget int       `json:"max_inflight_target"`
	MaxInflightAgent  int       `json:"max_inflight_agent"`
	Replicas          int       `json:"replicas"` // alive now, this one with them
	Features          []string  `json:"features,omitempty"`
}

// Drain is DRAIN's payload. From a replica: open another link now, without
// backoff, then give this one up. From an agent: its next link is registered;
// take this one out of every route and close it when its scrapes are done.
type Drain struct {
	Cause        string `json:"cause"`               // for logs: shutdown, max_age, moved, …
	WithinMillis int64  `json:"within_ms,omitempty"` // the link is cut then at the latest
}

// MarshalControl encodes a Hello, Welcome or Drain.
func MarshalControl(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wire: %T: %v", v, err)) // plain structs of ours always marshal
	}
	return b
}

// ParseHello decodes HELLO's payload and checks its names.
func ParseHello(payload []byte) (*Hello, error) {
	h, err := parseControl[Hello]("HELLO", payload)
	if err != nil {
		return nil, err
	}
	if err := CheckAgentName(h.Agent); err != nil {
		return nil, fmt.Errorf("HELLO: %w", err)
	}
	if !ValidID(string(h.Instance)) {
		return nil, fmt.Errorf("HELLO: instance ID: %w", ErrMalformed)
	}
	h.Version = clipTo(h.Version, 64)
	if err := checkFeatures(h.Features); err != nil {
		return nil, fmt.Errorf("HELLO: %w", err)
	}
	if len(h.Held) > 64 {
		return nil, fmt.Errorf("HELLO: %d links held: %w", len(h.Held), ErrTooLarge)
	}
	return h, nil
}

// checkFeatures bounds a list that every replica keeps for as long as the link is.
func checkFeatures(features []string) error {
	if len(features) > MaxFeatures {
		return fmt.Errorf("%d features: %w", len(features), ErrTooLarge)
	}
	for _, f := range features {
		if len(f) > MaxFeature || strings.ContainsFunc(f, func(c rune) bool { return c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') }) {
			return fmt.Errorf("a feature of %d bytes: %w", len(f), ErrMalformed)
		}
	}
	return nil
}

// ParseWelcome decodes WELCOME's payload.
func ParseWelcome(payload []byte) (*Welcome, error) { return parseControl[Welcome]("WELCOME", payload) }

// ParseDrain decodes DRAIN's payload.
func ParseDrain(payload []byte) (*Drain, error) {
	d, err := parseControl[Drain]("DRAIN", payload)
	if err != nil {
		return nil, err
	}
	d.Cause = clipTo(d.Cause, 64)
	return d, nil
}

func parseControl[T any](what string, payload []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(payload, v); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", what, ErrMalformed, err)
	}
	return v, nil
}

func clipTo(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// A Ping is PING's payload, and comes back whole as PONG's: u64 token, u16
// replicas alive. An agent that holds fewer links than it may learns from the
// count that it can have another.
type Ping struct {
	Token    uint64 // the sender's own; it measures the round trip by it
	Replicas uint16
}

// Append appends the encoded payload to b.
func (p Ping) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Token)
	return binary.BigEndian.AppendUint16(b, p.Replicas)
}

// ParsePing decodes PING's or PONG's payload.
func ParsePing(payload []byte) (Ping, error) {
	r := reader{b: payload}
	p := Ping{Token: r.u64(), Replicas: r.u16()}
	return p, r.done("PING")
}
