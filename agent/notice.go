package agent

import (
	"log/slog"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// noticeEvery bounds how often a relay can have the agent log what it does not
// grant. What came meanwhile stands in the metric.
const noticeEvery = 10 * time.Second

// notices keep what the relay said last of the addresses that it does not grant.
// All replicas say the same, so only what is new is logged. The zero value is
// empty.
type notices struct {
	mu      sync.Mutex
	payload string
	logged  time.Time
}

// noticeCame takes a NOTICE.
func (l *link) noticeCame(payload []byte) error {
	n, err := wire.ParseNotice(payload)
	if err != nil {
		return err
	}
	a := l.agent
	a.metrics.refused.Set(float64(len(n.Refused) + n.More))
	if a.notices.news(string(payload), time.Now()) {
		logNotice(l.logger(), n)
	}
	return nil
}

// news reports whether a notice is to be logged.
func (n *notices) news(payload string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.payload == payload || now.Sub(n.logged) < noticeEvery {
		return false
	}
	n.payload, n.logged = payload, now
	return true
}

func logNotice(log *slog.Logger, n *wire.Notice) {
	if len(n.Refused) == 0 {
		log.Info("the relay grants all addresses again")
		return
	}
	for _, r := range n.Refused[:min(len(n.Refused), 8)] {
		log.Warn("the relay does not grant this address in proxy mode; path mode works",
			"target", printable(r.Target), "address", printable(r.Address), "why", printable(r.Why),
			"mend", "set another address, or use a token made with -addresses")
	}
	if more := len(n.Refused) + n.More - 8; more > 0 {
		log.Warn("nor does it grant others", "count", more)
	}
}
