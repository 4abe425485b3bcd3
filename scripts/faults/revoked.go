package main

import (
	"strings"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

// revokedFaults take back tokens under load.
func revokedFaults() []fault {
	crowd := plan{jobs: ofTheSpared, sdEvery: 3 * time.Second, crowd: 500, relayEnv: []string{"FARSCRAPE_LOG_LEVEL=warn"}}
	return []fault{
		{name: "revoked", figure: "50 of 500 links closed ≤ 5 s; of others 0 failed", inject: revokeSome, judge: noneFailed, plan: crowd},
		{name: "revoked-and-then", figure: "Redis emptied, a replica restarted, Redis away: none of the 50 back", inject: revokeAndThen, judge: func(*trial) {}, plan: crowd},
	}
}

// revokedCrowd are those of the crowd whose tokens are taken back: 50.
const (
	revokedCrowd = "crowd-4[0-4]?"
	revokedSize  = 50
)

// ofTheSpared scrapes every agent through the balancer, and of the crowd one in five of
// those whose tokens stay good.
func ofTheSpared(s *stack) []job {
	jobs := throughBalancer(s)
	for i := 0; i < s.plan.crowd; i += 5 {
		if i/50 == 8 { // 400 to 449
			continue
		}
		r := s.Replicas[i%len(s.Replicas)]
		jobs = append(jobs, job{agent: rig.CrowdName(i), target: crowdTarget(), via: r.Addr, name: r.Name, class: crowdTarget().class})
	}
	return jobs
}

// revokeSome takes the 50's tokens back, and returns when their links have ended.
func revokeSome(t *trial) {
	said, err := t.Revoke("-agent", revokedCrowd)
	if err != nil {
		t.Miss("revoke: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	t.Note("%s, after %s", lines[len(lines)-1], seconds(time.Since(t.began)))
	left := int64(t.crowd.Size - revokedSize)
	took, ok := t.Poll(10*time.Second, func() bool { return t.crowd.Linked.Load() == left })
	if all := time.Since(t.began); !ok || all > 5*time.Second {
		t.Miss("%d links, and not %d, %s after they were taken back (%s after the command)", t.crowd.Linked.Load(), left, seconds(all), seconds(took))
	}
	t.noneBack("since", 10*time.Second)
	t.relieve()
}

// noneBack watches for so long that none of those comes back.
func (t *trial) noneBack(when string, d time.Duration) {
	most := int64(t.crowd.Size - revokedSize)
	if _, back := t.Poll(d, func() bool { return t.crowd.Linked.Load() > most }); back {
		t.Miss("%s, %d links: more than the %d whose tokens are good", when, t.crowd.Linked.Load(), most)
	}
}

// revokeAndThen does so, and then what might make it forgotten.
func revokeAndThen(t *trial) {
	revokeSome(t)
	t.redis.Do("FLUSHALL")
	t.noneBack("with Redis emptied", 8*time.Second)
	r := t.Replicas[0]
	r.Stop()
	t.again(r)
	t.noneBack("with a replica restarted", 15*time.Second)
	t.redis.Stop()
	t.noneBack("with Redis away", outage)
	t.redis.Start()
	t.over()
	t.noneBack("with Redis back", 8*time.Second)
	if _, ok := t.Poll(45*time.Second, func() bool { return t.crowd.Linked.Load() == int64(t.crowd.Size-revokedSize) }); !ok {
		t.Miss("%d links at the end", t.crowd.Linked.Load())
	}
}
