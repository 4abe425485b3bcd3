package relay

import (
	"math/rand/v2"
	"time"
)

const (
	// balanceEvery is how often a replica compares itself with the others:
	// three renewals of what the directory knows of them.
	balanceEvery = 15 * time.Second
	// balanceSlack is how far above its share a replica may be: balancers deal
	// links out by chance or by what they see.
	balanceSlack = 1.1
	// balanceShare is how many of its links it gives away at a time, so that
	// what others take is counted before the next.
	balanceShare = 0.05
	// minMoveAge is how old a link is at least that is moved.
	minMoveAge = 30 * time.Second
)

// untilBalance is balanceEvery ± 20 %, so that not all replicas move links at once.
func untilBalance() time.Duration {
	return balanceEvery*4/5 + rand.N(balanceEvery*2/5)
}

// balance asks a few agents to move if this replica holds more than its share
// of the links, as all do that were up while another restarted. The balancer
// deals them out anew.
func (r *Relay) balance(now time.Time) {
	replicas := r.Directory.Replicas()
	held, _ := r.links.Count()
	share := (r.Directory.Links() + replicas - 1) / max(replicas, 1)
	if replicas < 2 || r.phase.Load() != serving || float64(held) <= float64(share)*balanceSlack {
		return
	}
	shed := min(held-share, max(1, int(float64(held)*balanceShare)))
	links := r.links.All()
	rand.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
	moved := 0
	for _, l := range links {
		if moved == shed {
			break
		}
		if now.Sub(l.Connected()) > minMoveAge && l.DrainOnce("balance") {
			moved++
		}
	}
	if moved > 0 {
		r.Logger.Info("giving links away", "held", held, "share", share, "moved", moved)
	}
}
