package link

import (
	"time"

	"github.com/farscrape/farscrape/relay/wire"
)

// listLimits are what an agent may send besides the answers to scrapes, in bytes,
// by the size of the largest list it may have: eight of these at once, and one
// more in four seconds. By default that is 16 MiB and 512 KiB/s, which is one
// percent of a core to decode.
type listLimits struct{ bytes int }

func (l listLimits) ofAgent() allowance {
	return allowance{atOnce: 8 * float64(l.bytes), perSecond: float64(l.bytes) / 4}
}

// ofToken is for all agents that come with one token together. By default that is
// 1 GiB at once, so that a fleet of 16,000 may come back or change, and 8 MiB/s.
func (l listLimits) ofToken() allowance {
	one := l.ofAgent()
	return allowance{atOnce: 64 * one.atOnce, perSecond: 16 * one.perSecond}
}

// least is what a list counts for, however small: 256 at once by default, and 8 a
// second.
func (l listLimits) least() float64 { return float64(l.bytes) / 32 }

// change is what a change of a list counts for: that is not decoded again, but gone
// through, target by target here and in the directory, and copied there.
func (l listLimits) change(of *wire.TargetList) float64 {
	return max(l.least(), float64(of.Bytes())/8+16*float64(of.Len()))
}

// idle is what a frame counts for that belongs to nothing: 4,096 at once by
// default, and 128 a second.
func (l listLimits) idle() float64 { return float64(l.bytes) / 512 }

// An allowance is what somebody may send, in bytes, before they wait.
type allowance struct{ atOnce, perSecond float64 }

// takes is how long n bytes take to be paid.
func (a allowance) takes(n float64) time.Duration {
	return time.Duration(max(0, n/a.perSecond) * float64(time.Second))
}

const (
	// maxRest is how long a link may wait for its turn, at once or message after
	// message: for two lists of the largest size and some. One that owes more is
	// closed. While it waits nobody sees that its agent is gone, and what such an
	// agent has left behind in the connection is read at the same pace.
	maxRest = 10 * time.Second
	// maxDebt bounds how long an agent that was closed for it has to wait.
	maxDebt = time.Minute
)

// A debt is what somebody has sent, in bytes, less what time has paid.
type debt struct {
	allowance
	owed float64
	at   time.Time
}

func (d *debt) add(now time.Time, n float64) {
	d.owed = min(d.left(now)+n, d.atOnce+maxDebt.Seconds()*d.perSecond)
	d.at = now
}

func (d *debt) left(now time.Time) float64 {
	return max(0, d.owed-now.Sub(d.at).Seconds()*d.perSecond)
}

// paid is when nothing will be owed any more.
func (d *debt) paid(now time.Time) time.Duration { return d.takes(d.left(now)) }

// wait is when no more will be owed than may be at once.
func (d *debt) wait(now time.Time) time.Duration { return d.takes(d.left(now) - d.atOnce) }

// owe notes n bytes, and returns how long to read nothing of the agent's.
func (v *visit) owe(n float64) time.Duration {
	now := time.Now()
	v.arrivals.mu.Lock()
	defer v.arrivals.mu.Unlock()
	v.agent.debt.add(now, n)
	v.bearer.debt.add(now, n)
	return max(v.agent.debt.wait(now), v.bearer.debt.wait(now))
}
