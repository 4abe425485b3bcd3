package wire

import (
	"cmp"
	"fmt"
	"time"
)

// Sizes, in bytes.
const (
	// MaxMessage bounds a WebSocket message. At 64 kB/s, the thinnest line we
	// care for, one message takes a second, so a pong never waits longer than
	// that behind data.
	MaxMessage = 64 << 10
	// MaxEnvelope bounds the frames of an Envelope. What has queued up is
	// published together, for each PUBLISH wakes two replicas and Redis
	// (relay/decisions/cost-of-a-scrape.md).
	MaxEnvelope = 4 * MaxMessage
	// MaxPayload is what one frame can carry in one message.
	MaxPayload = MaxMessage - HeaderSize
	// MaxHeaderBytes bounds the header fields of a request or an answer: names
	// and values added up. They travel in one frame with the rest of it.
	MaxHeaderBytes = 32 << 10
	// MaxHeaderFields bounds their count.
	MaxHeaderFields = 256
	// MaxDetail bounds the human text of an END or a NACK.
	MaxDetail = 1 << 10
	// MaxExtensions bounds all extensions of a frame: they are kept with it.
	MaxExtensions = 4 << 10
	// MaxFeatures bounds what a peer lists in HELLO or WELCOME, and MaxFeature each
	// of it.
	MaxFeatures = 32
	MaxFeature  = 16
	// MaxTargetsBytes bounds a whole TARGETS list, all its frames added up.
	MaxTargetsBytes = 4 << 20
	// MaxTargets bounds the targets of one agent.
	MaxTargets = 10_000
	// MaxLabels bounds the labels of one target.
	MaxLabels = 64
	// MaxHost bounds a host's name, as DNS does.
	MaxHost = 253
	// MaxAddress bounds a target's address in proxy mode: a host, a colon and a
	// port of five digits.
	MaxAddress = MaxHost + 1 + 5
)

// Credit windows, in bytes: how much of an answer may be on its way, unread by
// the edge.
const (
	// LocalWindow is granted with a request to a link held here. It grows to
	// MaxWindow while the reader drains it at line speed.
	LocalWindow = 256 << 10
	// BusWindow is granted with a request over the bus; the rest comes after
	// HEAD, from a pool all bus scrapes of an edge share.
	BusWindow = 16 << 10
	// MaxWindow bounds the window of any scrape.
	MaxWindow = 4 << 20
	// HoldReserve is how much credit may be left when an edge stops holding an
	// answer back and begins to deliver it.
	HoldReserve = 64 << 10
)

// Times of the scrape protocol.
const (
	// AckAfter is how long an agent may take to HEAD before it says ACK.
	AckAfter = 100 * time.Millisecond
	// Silence is how long the near end of a hop waits for HEAD, ACK, END or
	// NACK, on top of the hop's measured round trip, before it tries elsewhere.
	Silence = 250 * time.Millisecond
	// Heartbeat is the mean time between a relay's pings on a link; each wait
	// is drawn from ± 20 % of it.
	Heartbeat = 7500 * time.Millisecond
	// PeerTimeout is the silence after which either side holds a link dead:
	// one lost ping and its successor's answer fit in it.
	PeerTimeout = 14 * time.Second
	// ConfirmTimeout bounds the wait for the END of a cancelled attempt, and with it
	// the time that its share of a pool is held back: three times what a live peer
	// needs.
	ConfirmTimeout = 10 * time.Second
	// MaxTimeout bounds the time remaining that a request can carry.
	MaxTimeout = 24 * time.Hour
)

// TargetLimits bound the target list of an agent; 0 is the most that the protocol
// allows. Encoded, a list of 10,000 targets with five labels each has 2 MB; in
// memory it takes 13 times its encoding at the most (TestWhatATargetListCosts).
type TargetLimits struct {
	Targets int
	Labels  int // of one target
	Bytes   int // of the whole list, encoded
}

func (l TargetLimits) orMost() TargetLimits {
	return TargetLimits{cmp.Or(l.Targets, MaxTargets), cmp.Or(l.Labels, MaxLabels), cmp.Or(l.Bytes, MaxTargetsBytes)}
}

// over makes the error of a list that is over a limit which is set by
// FARSCRAPE_AGENT_MAX_ and the name.
func (l TargetLimits) over(what string, value, limit int, name string) error {
	return &LimitError{What: what, Value: value, Limit: limit, Setting: "FARSCRAPE_AGENT_MAX_" + name}
}

// PatternsPart is how much of n that a tenant may have the agents with tokens for
// patterns fill, whose names are as many as their holder likes: three quarters, so
// that who has a token for its name finds room.
func PatternsPart(n int) int { return n/4*3 + n%4*3/4 }

// A LimitError says which limit of the relay's an agent is over, and what sets
// it. Its text reaches the agent's log.
type LimitError struct {
	What    string // in the plural
	Value   int
	Limit   int
	Setting string // of the relay
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%d %s; %s is %d", e.Value, e.What, e.Setting, e.Limit)
}

// Unwrap makes it an ErrTooLarge.
func (e *LimitError) Unwrap() error { return ErrTooLarge }
