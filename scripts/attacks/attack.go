package main

import (
	"slices"
	"time"
)

// An attack is something bad that is sent to the relay, or to an agent.
type attack struct {
	side     string // whose doing it is
	name     string
	sent     string
	expected string // what run must return, word for word
	plan     plan   // the stack that it needs
	breaks   bool   // nothing can follow on that stack
	bound    bound
	run      func(*trial) string // does it, and says what was seen
}

// A bound is what an attack may cost those who have nothing to do with it; what
// is 0 is as in standard.
type bound struct {
	memory int           // megabytes of any one replica at its peak, beyond what it had
	left   int           // megabytes of live heap that it may leave: what is remembered of agents that have gone
	lines  int           // in the logs of all replicas
	delay  time.Duration // the 99th percentile of any bystander
	pages  bool          // pages may say that Redis is away
	blind  bool          // it is what bystanders lose that the attack is about: run looks itself
}

// standard bounds are generous to a busy machine of two processors, but for the
// memory: a replica that does nothing has about 45 MB, and 256 MiB is the limit
// that we ship. A few attacks are measured by nothing else, since there is no room
// for anybody's beyond it.
var standard = bound{memory: 64, left: 12, lines: 40, delay: 250 * time.Millisecond}

// most is what no replica may come to, whatever an attack's own bound is.
const most = 256

func (b bound) orStandard() bound {
	if b.memory == 0 {
		b.memory = standard.memory
	}
	if b.left == 0 {
		b.left = standard.left
	}
	if b.lines == 0 {
		b.lines = standard.lines
	}
	if b.delay == 0 {
		b.delay = standard.delay
	}
	return b
}

// by marks whose attacks they are.
func by(side string, all ...[]attack) []attack {
	of := slices.Concat(all...)
	for i := range of {
		of[i].side = side
	}
	return of
}

// attacks are all of them, in the order in which they are carried out.
func attacks() []attack {
	return slices.Concat(
		by("scraper", framingAttacks(), addressAttacks(), timeoutAttacks(), tokenAttacks(), loadAttacks(), ownAttacks()),
		by("agent", upgradeAttacks(), handshakeAttacks(), frameAttacks(), answerAttacks(), listAttacks(), floodAttacks(), nameAttacks()),
		by("target", targetAttacks()),
		by("relay", relayAttacks()),
		by("redis", redisAttacks()),
		by("operations", operationAttacks()),
	)
}
