package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// Periods of the directory and the bus.
const (
	// Lease is how long a replica's lease lasts without being renewed, which is done
	// twice a second. With two looks it is gone for all others within 15 s.
	Lease = 13 * time.Second
	// Audit is how often each link is looked for in its agent's record, and Renew how
	// often while there are replicas of an earlier version: they let a record go that
	// they have not renewed.
	Audit = time.Hour
	Renew = 5 * time.Second
	// Grace is how long after an emptied directory an agent that is not in it
	// may still be coming back: agents back off for 30 s, and then need a
	// handshake.
	Grace = 45 * time.Second
	// EphemeralKeep is how long an ephemeral agent stays listed if it went
	// without a goodbye.
	EphemeralKeep = 5 * time.Minute
	// QueueLimit bounds what may wait for one replica on the bus, in bytes.
	QueueLimit = 8 << 20
)

// agentStopped is the close cause by which an ephemeral agent says that it will
// not come back.
var agentStopped = wire.CauseAgentStopped.String()

// Errors of a store that are not the directory's answers in package wire.
var (
	// ErrUncertain: the directory was emptied or replaced a short time ago, so
	// what is not in it may be on its way back.
	ErrUncertain = errors.New("the directory has just started or was emptied, and agents may not be back in it yet")
	// ErrAway: Redis cannot be reached.
	ErrAway = errors.New("redis is away")
	// ErrBusDown: the bus does not work now.
	ErrBusDown = errors.New("the bus is down")
	// ErrLongPrefix: the prefix of keys and channels is longer than it may be.
	ErrLongPrefix = fmt.Errorf("longer than %d bytes", maxPrefix)
	// ErrQueueFull: QueueLimit bytes wait for that replica already.
	ErrQueueFull = errors.New("the queue to that replica is full")
)

func keepFor(ephemeral bool, keep time.Duration) time.Duration {
	if ephemeral {
		return min(keep, EphemeralKeep)
	}
	return keep
}

// stillUncertain is ErrUncertain with how long it will be so.
func stillUncertain(left time.Duration) error {
	return fmt.Errorf("%w: for another %s, FARSCRAPE_SD_GRACE at most; Prometheus keeps the targets that it has", ErrUncertain, max(left.Round(time.Second), time.Second))
}
