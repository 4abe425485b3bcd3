package main

import (
	"cmp"
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
// is 0 is as in orStandard.
type bound struct {
	memory int           // megabytes of any one replica at its peak, beyond what it had
	left   int           // megabytes of live heap that it may leave: what is remembered of agents that have gone
	lines  int           // in the logs of all replicas
	delay  time.Duration // the 99th percentile of any bystander
	pages  bool          // pages may say that Redis is away
}

// most is what no replica may come to, in megabytes, whatever an attack's own
// bound is: the limit that we ship.
const most = 256

// orStandard fills in what holds for most attacks. It is generous to a busy machine
// of two processors. A replica that does nothing has some 25 MB.
func (b bound) orStandard() bound {
	b.memory = cmp.Or(b.memory, 64)
	b.left = cmp.Or(b.left, 12)
	b.lines = cmp.Or(b.lines, 40)
	b.delay = cmp.Or(b.delay, 250*time.Millisecond)
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
		by("scraper", framingAttacks(), addressAttacks(), timeoutAttacks(), tokenAttacks(), loadAttacks(), guessAttacks(), ownAttacks(), replayAttacks()),
		by("agent", upgradeAttacks(), handshakeAttacks(), frameAttacks(), answerAttacks(), listAttacks(), changeAttacks(), floodAttacks(), crowdAttacks(), eventAttacks(), nameAttacks(), revokedAttacks(), joinAttacks(), certificateAttacks()),
		by("balancer", balancerAttacks()),
		by("target", targetAttacks()),
		by("relay", relayAttacks()),
		by("redis", redisAttacks()),
		by("operations", operationAttacks()),
	)
}
